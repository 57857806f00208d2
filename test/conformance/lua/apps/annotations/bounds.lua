-- Checks end, whatever the value and the type.
local t = require("expect")

type Node = {value: integer, next: Node?}
type Cycle<T> = {value: T, next: Cycle<T>}
type Numbers = Cycle<integer>
type Growing<T> = {value: T?, next: Growing<{T}>?}
type Two = {l: Two?, r: Two?, x: 1} | {l: Two?, r: Two?, x: 2}
type Even = {next: Odd, even: true}
type Odd = {next: Even, odd: true}
type Self = Self
type Loop = Loop | string
type A0 = A1 | A1
type A1 = A2 | A2
type A2 = A3 | A3
type A3 = A4 | A4
type A4 = number | number
type Any = {[any]: any}

local function main()
    local case, done = t.cases()

    case("cycles", function()
        local node = { value = 1 }
        node.next = node
        t.truthy(Node:is(node))
        t.truthy(Numbers:is(node))
        t.fails("Invalid", "next.value: expected {T}, got number", Growing:is(node))
        local same = {}
        same.next = same
        -- The type never comes round.
        t.fails("Invalid", "nested too deeply", Growing:is(same))
        t.truthy(Any:is(node))
        local second = { value = "x", next = node }
        node.next = second
        t.fails("Invalid", "next.value: expected integer, got string", Node:is(node))
        t.fails("Invalid", "value: expected integer, got string", Node:is(second))
    end)
    case("cycles through two types", function()
        local even, odd = { even = true }, { odd = true }
        even.next, odd.next = odd, even
        t.truthy(Even:is(even))
        t.truthy(Odd:is(odd))
        t.fails("Invalid", "", Even:is(odd))
        odd.odd = false
        t.fails("Invalid", "next.odd: expected true, got false", Even:is(even))
    end)
    case("a table in many places is checked once", function()
        local tree = { x = 1 }
        for i = 1, 60 do tree = { x = i % 2 + 1, l = tree, r = tree } end
        t.truthy(Two:is(tree))
        local bad = { x = 3 }
        for i = 1, 60 do bad = { x = i % 2 + 1, l = bad, r = bad } end
        t.fails("Invalid", "", Two:is(bad))
    end)
    case("depth", function()
        local list
        for i = 1, 150 do list = { value = i, next = list } end
        t.truthy(Node:is(list))
        for i = 1, 100000 do list = { value = i, next = list } end
        t.fails("Invalid", "nested too deeply", Node:is(list))
        t.raises("nested too deeply", Node, list)
    end)
    case("types that mean nothing", function()
        t.fails("Invalid", "type Self refers to itself only", Self:is(1))
        t.fails("Invalid", "", Loop:is(1))
        t.fails("Invalid", "expected A1 | A1, got string", A0:is("x"))
    end)
    return done()
end

return { main = main }
