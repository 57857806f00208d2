-- Every place where annotations may stand (lua-core.md §3.1), in a program that must do the same without them.
local t = require("expect")

type Job = {id: string, retries?: integer, tags: {string}}
type Pair<K, V> = {key: K, value: V}
type Status =
    | "open"
    | "done"

interface Named
    name: string
    function title(self, prefix: string): string end
end

interface Aged: Named
    age: integer
    function birthday(self)
end

local function pick<T>(list: {T}, n: number?): (T?, error?)
    local i: integer = n or 1
    return list[i] :: T, nil
end

local Person = {}
Person.__index = Person

function Person.new(name: string, age: integer?): Named
    return setmetatable({ name = name, age = age or 0 }, Person) as Named
end

function Person:title(prefix: string): string
    return prefix .. " " .. self.name
end

local function line(): string
    local ok, err = pcall(function(): (never, string)
        local job: {
            id: string,
            tags: {string},
        } = { id = "a", tags = {} }
        error("here")
    end)
    return err
end

local function main()
    local case, done = t.cases()

    case("local variables", function()
        local a: integer, b: string? = 1, "x"
        local c: {[string]: fun(n: number): (string, error?)}
        local d: (x: number, ...any) -> number | nil = function(x) return x end
        t.equal({ a, b, c == nil, d(4) }, { 1, "x", true, 4 })
    end)
    case("parameters, results, generics", function()
        local first = function<T>(list: {T}, ...: any): T?, integer return list[1], select("#", ...) end
        t.values({ "a", 2, n = 2 }, first({ "a" }, nil, nil))
        t.values({ "b", nil, n = 2 }, pick({ "a", "b" }, 2))
        t.equal(Person.new("Ada", 36):title("Dr"), "Dr Ada")
    end)
    case("casts bind tighter than operators", function()
        local x: any = 3
        t.equal(x :: integer + 4, 7)
        t.equal(x as number * 2 :: number, 6)
        t.equal((x :: integer) < 4, true)
        t.equal(x :: integer < 4, true)
        t.equal({ x as integer, y = x :: integer }, { 3, y = 3 })
        t.equal(#(("abc" as string) :: string), 3)
        t.equal(not x as boolean, false)
    end)
    case("the non-nil mark", function()
        local user = { name = "Ada", tags = { "x" }, find = function(self, k) return self[k] end }
        t.equal((user!).name, "Ada")
        t.equal(user!.tags![1]!, "x")
        t.equal(user:find("name")! .. "!", "Ada!")
        t.equal(user! == user!, true)
    end)
    case("labels are no casts", function()
        local count = 0
        for i = 1, 4 do
            if i % 2 == 0 then goto continue end
            count = count + i
            ::continue::
        end
        do
            local j = 0
            ::again:: j = j + 1
            if j < 3 then goto again end
            count = count + j
        end
        t.equal(count, 7)
    end)
    case("words of types are names everywhere else", function()
        local type_of = type
        local type, interface, readonly, as, asserts, is = 1, 2, 3, 4, 5, 6
        local keyof, extends, typeof, fun = 7, 8, function(v) return v end, function(v) return type_of(v) end
        type = type + 1
        as = as + 1
        local object = { type = "a", as = "b", is = function(self, k) return k end, interface = { fun = fun } }
        t.equal({ type, interface, readonly, as, asserts, is, keyof, extends }, { 2, 2, 3, 5, 5, 6, 7, 8 })
        t.equal(typeof(9), 9)
        t.equal(fun "x", "string")
        t.equal(object.type .. object.as .. object:is("c") .. object.interface.fun({}), "abctable")
        local value = object
        as = value
        t.equal(as.type, "a")
        t.equal(type_of(function(type, as, is) return type end), "function")
    end)
    case("annotations in strings and comments are text", function()
        local a = "local x: T" -- local y: U = 1
        local b = [[
type X = string :: T]] --[[@as string]]
        ---@type integer
        local c = 'x as y!'
        t.equal(a .. b .. c, "local x: Ttype X = string :: Tx as y!")
    end)
    case("lines stay where they are", function()
        t.contains(line(), "annotations:erased:42: here")
    end)
    case("a statement does not swallow the next one", function()
        local seen
        local function give() return 1 end
        local x = give() :: integer
        (function(v) seen = v end)(2)
        t.equal({ x, seen }, { 1, 2 })
    end)
    return done()
end

return { main = main }
