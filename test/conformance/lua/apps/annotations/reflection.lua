-- What types say about themselves, and how they compare (lua-core.md §3.3, layer 3).
local t = require("expect")

type Base = {id: string}
type User = {readonly id: string, name?: string, age: integer @min(0)}
type Users = {User}
type Scores = {[string]: number}
type Status = "open" | "done"
type Name = string?
type Short = string @max_len(3)
type Call = (a: User, ...: any) -> (string, error?)
type Text = string
type Same = {age: integer @min(0), name?: string, id: Text}
type Ids = {integer}
type Numbers = {number}
type Tree = {value: integer, next: Tree?}
type Tree2 = {value: integer, next: Tree2?}
interface Named name: string end

local function names(list)
    local out = {}
    for i, item in ipairs(list) do out[i] = type(item) == "table" and item.name or tostring(item) end
    return out
end

local function main()
    local case, done = t.cases()

    case("kind and name", function()
        local kinds = {}
        for i, each in ipairs({ User, Users, Scores, Status, Name, Short, Call, Text, Named }) do kinds[i] = each:kind() end
        t.equal(kinds, { "record", "array", "map", "union", "optional", "checked", "function", "string", "interface" })
        t.equal(User:name(), "User")
        t.equal(Status:variants()[1]:name(), '"open"')
        t.equal(tostring(Users:elem()), "User")
    end)
    case("parts", function()
        t.equal(names(User:fields()), { "id", "name", "age" })
        local id, name = User:fields()[1], User:fields()[2]
        t.equal({ id.readonly, id.optional, name.readonly, name.optional }, { true, false, false, true })
        t.equal(id.type:kind(), "string")
        t.equal(names(Status:variants()), { '"open"', '"done"' })
        t.equal(Users:elem():kind(), "record")
        t.equal({ Scores:key():name(), Scores:val():name() }, { "string", "number" })
        t.equal({ Name:inner():name(), Short:inner():name() }, { "string", "string" })
        t.equal(names(Call:params()), { "User", "any" })
        t.equal(names({ Call:ret() }), { "string", "error?" })
        t.equal({ Text:elem(), Text:inner(), Text:ret() }, {})
        t.equal({ #Text:fields(), #Text:variants(), #Text:params() }, { 0, 0, 0 })
        t.values({ "x", nil, n = 2 }, id.type:is("x"))
    end)
    case("equality is structural", function()
        t.truthy(User == Same)
        t.truthy(Tree == Tree2)
        t.truthy(User ~= Base)
        t.truthy(Text ~= Name)
    end)
    case("less means that every value has the other type too", function()
        t.truthy(User < Base and User <= Base and not (Base <= User))
        t.truthy(User <= Same and not (User < Same))
        t.truthy(Ids < Numbers)
        t.truthy(Status < Text and Text < Name and Short < Text)
        t.truthy(not (Text <= Ids) and not (Ids <= Text))
        t.raises("compare", function() return Text < 1 end)
    end)
    return done()
end

return { main = main }
