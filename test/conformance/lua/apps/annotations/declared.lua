-- Values of declared types: structural checks (lua-core.md §3.3, layer 2).
local t = require("expect")
local time = require("time")

type Job = {id: string, retries?: integer, tags: {string}}
type Point = {x: number, y: number}
type Shape = {at: Point, kind: "circle" | "square", name: string?}
type Scores = {[string]: integer}
type Id = string | integer
type Tree = {value: integer, left: Tree?, right: Tree?}
type Forest = {Tree}
type Box<T> = {value: T}
type Words = Box<string>
type List<T> = {head: T, tail: List<T>?}
type Numbers = List<number>
type Later = {first: Last}
type Last = {n: integer}
type Anything = {a: any, u: unknown, x: SomethingElse, t: typeof(main)}
type Both = Point & {z: number}
type Key = keyof(Point)
type X = Point["x"]
type Callback = (n: number) -> string
type Handler = fun(n: number): string
type Mixed = {name: string, [integer]: boolean}
type Settings = readonly {level: 1 | 2 | true | nil}
type Basic = {n: nil, b: boolean, t: table, f: function, c: thread, u: userdata, e: error}
type Empty = {}
type Nothing = never

interface Named
    name: string
    function title(self): string end
end
interface Clock: Named
    function unix(self): integer
end
interface Timed
    function unix(self): integer
    function add(self, d: any): any
end

local function main()
    local case, done = t.cases()

    local function accepts(type, ...)
        for i = 1, select("#", ...) do
            local value = (select(i, ...))
            t.values({ value, nil, n = 2 }, type:is(value))
            t.values({ value, nil, n = 2 }, type.is(value))
            t.values({ value, n = 1 }, type(value))
        end
    end
    local function refuses(type, value, message)
        local err = t.fails("Invalid", message, type:is(value))
        t.equal(err:message(), message)
        t.equal(err:retryable(), false)
        t.equal(tostring(t.raises(message, type, value)), message)
        return err:details()
    end

    case("records", function()
        accepts(Job, { id = "a", tags = {} }, { id = "a", retries = 2, tags = { "x", "y" }, more = true })
        refuses(Job, { tags = {} }, "id: required field missing")
        refuses(Job, { id = 1, tags = {} }, "id: expected string, got number")
        refuses(Job, { id = "a", tags = {}, retries = 1.5 }, "retries: expected integer, got number")
        refuses(Job, "x", "expected Job, got string")
        refuses(Job, nil, "expected Job, got nil")
        accepts(Empty, {}, { x = 1 }, { 1 })
        refuses(Empty, 1, "expected Empty, got number")
    end)
    case("the details of an error", function()
        t.equal(refuses(Shape, { at = { x = 1 }, kind = "circle" }, "at.y: required field missing"),
            { field = "at.y", expected = "number", got = "nil", constraint = "required" })
        t.equal(refuses(Shape, { at = { x = 1, y = "2" }, kind = "circle" }, "at.y: expected number, got string"),
            { field = "at.y", expected = "number", got = "string", constraint = "type" })
        t.equal(refuses(Id, {}, "expected string | integer, got table"),
            { field = "", expected = "string | integer", got = "table", constraint = "type" })
    end)
    case("the error that is raised is the same object that is returns", function()
        local ok, err = pcall(function() return Point({ x = 1 }) end)
        t.equal(ok, false)
        t.error(err, "Invalid", "y: required field missing")
        t.contains(err:stack(), "annotations:declared")
    end)
    case("arrays and maps", function()
        accepts(Forest, {}, { { value = 1 }, { value = 2, left = { value = 3 } } })
        refuses(Forest, { { value = 1 }, { value = "2" } }, "2.value: expected integer, got string")
        refuses(Forest, { { value = 1, left = { value = 1, right = {} } } }, "1.left.right.value: required field missing")
        refuses(Forest, { a = 1 }, "expected Forest, got table")
        accepts(Scores, {}, { a = 1, b = 2 })
        refuses(Scores, { a = 1, b = "2" }, "b: expected integer, got string")
        refuses(Scores, { 5 }, "key 1: expected string, got number")
        accepts(Mixed, { name = "a" }, { name = "a", true, false })
        refuses(Mixed, { name = "a", 1 }, "1: expected boolean, got number")
        refuses(Mixed, { name = "a", other = 1 }, "key other: expected integer, got string")
    end)
    case("unions, literals, optional values", function()
        accepts(Id, "a", 1, 2.0)
        refuses(Id, 1.5, "expected string | integer, got number")
        accepts(Shape, { at = { x = 1, y = 2 }, kind = "square", name = "a" })
        refuses(Shape, { at = { x = 1, y = 2 }, kind = "ring" }, 'kind: expected "circle" | "square", got "ring"')
        refuses(Shape, { at = { x = 1, y = 2 }, kind = "circle", name = 1 }, "name: expected string, got number")
        accepts(Settings, { level = 1 }, { level = 2.0 }, { level = true }, {})
        refuses(Settings, { level = 3 }, "level: expected 1 | 2 | true | nil, got 3")
        refuses(Settings, { level = false }, "level: expected 1 | 2 | true | nil, got false")
    end)
    case("generic types", function()
        accepts(Words, { value = "a" })
        refuses(Words, { value = 1 }, "value: expected string, got number")
        accepts(Box, { value = 1 }, { value = {} }, {})
        accepts(Numbers, { head = 1, tail = { head = 2 } })
        refuses(Numbers, { head = 1, tail = { head = "2" } }, "tail.head: expected number, got string")
    end)
    case("types of later declarations, and of nobody", function()
        accepts(Later, { first = { n = 1 } })
        refuses(Later, { first = { n = "1" } }, "first.n: expected integer, got string")
        accepts(Anything, {}, { a = 1, u = "x", x = {}, t = print })
        refuses(Nothing, 1, "expected never, got number")
    end)
    case("types made of types", function()
        accepts(Both, { x = 1, y = 2, z = 3 })
        refuses(Both, { x = 1, y = 2 }, "z: required field missing")
        accepts(Key, "x", "y")
        refuses(Key, "z", "expected keyof(Point), got string")
        accepts(X, 1)
        refuses(X, "1", "expected number, got string")
        accepts(Callback, print, function() end)
        refuses(Handler, {}, "expected function, got table")
    end)
    case("well-known names", function()
        local basic = { b = true, t = {}, f = print, c = coroutine.create(print), u = time.now(), e = errors.new("x") }
        accepts(Basic, basic)
        basic.e = "x"
        refuses(Basic, basic, "e: expected error, got string")
        basic.e, basic.u = errors.new("x"), {}
        refuses(Basic, basic, "u: expected userdata, got table")
    end)
    case("interfaces find methods where scripts do", function()
        local class = {}
        class.__index = class
        function class.title(self) return self.name end
        local object = setmetatable({ name = "a" }, class)
        accepts(Named, object, { name = "b", title = print })
        refuses(Named, { name = "b" }, "title: required field missing")
        refuses(Named, { name = "b", title = "x" }, "title: expected function, got string")
        refuses(Clock, object, "unix: required field missing")
        accepts(Timed, time.now())
        refuses(Timed, channel.new(), "unix: required field missing")
    end)
    case("a type is a value", function()
        t.equal(type(Job), "userdata")
        t.equal(tostring(Job), "Job")
        local alias = Job
        t.truthy(alias == Job)
        t.values({ 1, nil, n = 2 }, ({ id = Id }).id:is(1))
        local function check(v) return Point:is(v) end
        t.fails("Invalid", "expected Point, got number", check(1))
        t.equal(Job.nothing, nil)
        t.raises("", function() Job.x = 1 end)
        t.fails("Invalid", "expected string | integer, got nil", Id:is())
    end)
    case("types of a block belong to the block", function()
        type Point = string
        accepts(Point, "a")
        do
            type Point = boolean
            accepts(Point, true)
        end
        accepts(Point, "b")
    end)
    case("a variable of the script keeps its value", function()
        local Config = { x = 1 }
        type Config = {x: integer}
        function Config.get() return Config.x end
        t.equal(Config.get(), 1)
    end)
    return done()
end

return { main = main }
