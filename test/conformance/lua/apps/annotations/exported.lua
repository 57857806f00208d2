-- Types that a library exports in its table (lua-core.md §3.3).
local t = require("expect")
local shapes = require("shapes")

type Drawing = {shapes: {shapes.Shape}, by: string}
type Ring = shapes.Circle & {inner: number}
type Held = shapes.Holder<Ring>
type Version = shapes.version
type Missing = shapes.nothing
local Circle = shapes.Circle
type Pair = {a: Circle, b: Circle}

local function area(c: shapes.Circle): number
    return c.r * c.r * 3
end

local function main()
    local case, done = t.cases()

    case("they check where they are used", function()
        t.equal(area({ r = 2 }), 12)
        local circle: shapes.Circle = { r = 1 }
        t.values({ circle, nil, n = 2 }, shapes.Circle:is(circle))
        t.fails("Invalid", "r: -1 is below the min of 0", shapes.Circle:is({ r = -1 }))
        t.truthy(shapes.Shape({ w = 1, h = 2 }))
        t.raises("expected Circle | {w: number, h: number}, got table", shapes.Shape, { w = 1 })
    end)
    case("they are parts of other types", function()
        t.truthy(Drawing:is({ by = "me", shapes = { { r = 1 }, { w = 1, h = 2 } } }))
        t.fails("Invalid", "shapes.2: expected Circle", Drawing:is({ by = "me", shapes = { { r = 1 }, {} } }))
        t.truthy(Ring:is({ r = 1, inner = 1 }))
        t.fails("Invalid", "r: -1 is below", Ring:is({ r = -1, inner = 1 }))
        t.truthy(Pair:is({ a = { r = 1 }, b = { r = 2 } }))
        t.fails("Invalid", "b.r: required field missing", Pair:is({ a = { r = 1 }, b = {} }))
    end)
    case("generic ones take arguments", function()
        t.truthy(Held:is({ held = { r = 1, inner = 0 } }))
        t.fails("Invalid", "held.inner: required field missing", Held:is({ held = { r = 1 } }))
        t.truthy(shapes.Holder:is({ held = 1 }))
    end)
    case("what is no type accepts everything", function()
        t.values({ 1, nil, n = 2 }, Version:is(1))
        t.values({ nil, nil, n = 2 }, Missing:is(nil))
    end)
    case("the types of a function refer to its variables", function()
        local function maker(Item)
            type Bag = {items: {Item}}
            return function(v) return Bag:is(v) end
        end
        local check = maker(Circle)
        t.truthy(check({ items = { { r = 1 } } }))
        t.fails("Invalid", "items.1.r: required field missing", check({ items = { {} } }))
    end)
    return done()
end

return { main = main }
