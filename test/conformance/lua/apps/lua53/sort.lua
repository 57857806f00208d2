-- table.sort (Lua 5.3 manual §6.6).
local t = require("expect")

local function main()
    local case, done = t.cases()

    local function is_sorted(list, less)
        less = less or function(a, b) return a < b end
        for i = 2, #list do
            if less(list[i], list[i - 1]) then return false, i end
        end
        return true
    end
    -- A fixed sequence, so that a failure can be had again.
    local function numbers(count, span)
        local list, x = {}, 12345
        for i = 1, count do
            x = (x * 61 + 17) % 65521
            list[i] = x % (span or 65521)
        end
        return list
    end

    case("short lists", function()
        for _, list in ipairs({ {}, { 1 }, { 2, 1 }, { 1, 2 }, { 3, 1, 2 }, { 3, 2, 1 }, { 2, 2, 1 }, { 1, 1, 1 }, { 4, 2, 3, 1 } }) do
            local copy = table.move(list, 1, #list, 1, {})
            t.values({ n = 0 }, table.sort(list))
            t.truthy(is_sorted(list))
            t.equal(#list, #copy)
        end
    end)
    case("every order of five", function()
        local function permutations(list, n, visit)
            n = n or #list
            if n <= 1 then return visit(list) end
            for i = 1, n do
                list[i], list[n] = list[n], list[i]
                permutations(list, n - 1, visit)
                list[i], list[n] = list[n], list[i]
            end
        end
        local count = 0
        permutations({ 1, 2, 3, 3, 5 }, 5, function(order)
            local list = table.move(order, 1, 5, 1, {})
            table.sort(list)
            t.equal(list, { 1, 2, 3, 3, 5 })
            count = count + 1
        end)
        t.equal(count, 120)
    end)
    case("long lists: any order, sorted, backwards, equal", function()
        local list = numbers(3000)
        table.sort(list)
        t.truthy(is_sorted(list))
        table.sort(list)
        t.truthy(is_sorted(list))
        table.sort(list, function(a, b) return a > b end)
        t.truthy(is_sorted(list, function(a, b) return a > b end))
        local equal = {}
        for i = 1, 2000 do equal[i] = false end
        table.sort(equal, function() return nil end)
        t.equal(#equal, 2000)
        local few = numbers(2000, 3)
        table.sort(few)
        t.truthy(is_sorted(few))
    end)
    case("nothing is lost", function()
        local list, sum, seen = numbers(500, 50), 0, {}
        for _, v in ipairs(list) do sum = sum + v seen[v] = (seen[v] or 0) + 1 end
        table.sort(list, function(a, b) return a > b end)
        for _, v in ipairs(list) do sum = sum - v seen[v] = seen[v] - 1 end
        t.equal(sum, 0)
        for _, left in pairs(seen) do t.equal(left, 0) end
    end)
    case("strings, by bytes; integers with floats", function()
        local list = { "b", "", "a\0b", "B", "a", "\xff", "a\0", "10", "9" }
        table.sort(list)
        t.equal(list, { "", "10", "9", "B", "a", "a\0", "a\0b", "b", "\xff" })
        local mixed = { 3, 1.5, -math.huge, 2, math.huge, 2.5 }
        table.sort(mixed)
        t.equal(mixed, { -math.huge, 1.5, 2, 2.5, 3, math.huge })
    end)
    case("values with __lt", function()
        local meta = { __lt = function(a, b) return a.n < b.n end }
        local list = {}
        for i, n in ipairs(numbers(50)) do list[i] = setmetatable({ n = n }, meta) end
        table.sort(list)
        t.truthy(is_sorted(list))
    end)
    case("the list ends at its border", function()
        local list = { 3, 2, 1, nil, 0 }
        list[4], list[5] = nil, nil
        list.x, list[0] = "x", "zero"
        table.sort(list)
        t.equal(list, { [0] = "zero", 1, 2, 3, x = "x" })
    end)
    case("mistakes", function()
        t.raises("attempt to compare", table.sort, { 1, "x" })
        t.raises("attempt to compare two table values", table.sort, { {}, {} })
        t.raises("table expected", table.sort, "x")
        t.raises("function expected", table.sort, { 2, 1 }, "x")
        t.raises("from the comparator", table.sort, { 2, 1 }, function() error("from the comparator") end)
        t.raises("invalid order function", function()
            local list = numbers(200)
            table.sort(list, function() return true end)
        end)
    end)
    case("a comparator may sort, raise and catch itself", function()
        local list = { 3, 1, 2 }
        table.sort(list, function(a, b)
            local inner = { b, a }
            table.sort(inner)
            pcall(error, "caught")
            return inner[1] == a and a ~= b
        end)
        t.equal(list, { 1, 2, 3 })
    end)
    return done()
end

return { main = main }
