-- json.validate and json.validate_string (lua-libraries.md §4.3).
local json = require("json")
local t = require("expect")

local PERSON = {
    type = "object",
    required = { "name" },
    properties = { name = { type = "string", minLength = 1 }, age = { type = "integer", minimum = 0 } },
    additionalProperties = false,
}

local function refused(fragment, ...)
    local err = t.fails_with_false("Invalid", fragment, ...)
    t.equal(err:retryable(), false)
    t.truthy(#err:message() > 0)
end

local function main()
    local case, done = t.cases()

    case("data that fits: true, and nothing else", function()
        t.values({ true, n = 1 }, json.validate(PERSON, { name = "Ann", age = 7 }))
        t.values({ true, n = 1 }, json.validate_string(PERSON, '{"name":"Ann","age":7}'))
    end)
    case("data that does not: false and an error", function()
        refused("name", json.validate(PERSON, { age = 7 }))
        refused("", json.validate(PERSON, { name = "" }))
        refused("", json.validate(PERSON, { name = "Ann", age = -1 }))
        refused("", json.validate(PERSON, { name = "Ann", age = 1.5 }))
        refused("", json.validate(PERSON, { name = "Ann", more = true }))
        refused("", json.validate(PERSON, "Ann"))
        refused("name", json.validate_string(PERSON, '{"age":7}'))
        refused("", json.validate_string(PERSON, '{"name":5}'))
        refused("", json.validate_string(PERSON, "null"))
    end)
    case("a schema may be JSON text", function()
        local text = '{"type":"array","items":{"type":"integer"}}'
        t.values({ true, n = 1 }, json.validate(text, { 1, 2 }))
        refused("", json.validate(text, { 1, "x" }))
        t.values({ true, n = 1 }, json.validate_string(text, "[]"))
        refused("", json.validate_string(text, "{}"))
        t.values({ true, n = 1 }, json.validate("true", 5))
        refused("", json.validate("false", 5))
    end)
    case("a schema is required", function()
        refused("schema is required", json.validate(nil, 1))
        refused("schema is required", json.validate())
        refused("schema is required", json.validate_string(nil, "1"))
        refused("schema is required", json.validate_string())
    end)
    case("data is required", function()
        refused("data is required", json.validate({ type = "string" }, nil))
        refused("data is required", json.validate({ type = "string" }))
        t.values({ true, n = 1 }, json.validate({ type = "boolean" }, false))
    end)
    case("a schema is a string or a table", function()
        for _, other in ipairs({ 5, true, print, errors.new("x") }) do
            refused("schema must be a string or table", json.validate(other, 1))
            refused("schema must be a string or table", json.validate_string(other, "1"))
        end
    end)
    case("validate_string wants a string", function()
        for _, other in ipairs({ 5, true, {}, print }) do
            refused("data must be a JSON string", json.validate_string({}, other))
        end
        refused("data must be a JSON string", json.validate_string({}, nil))
    end)
    case("a schema that is none is refused", function()
        refused("", json.validate({ type = "text" }, 1))
        refused("", json.validate({ minimum = "one" }, 1))
        refused("", json.validate({ required = "name" }, {}))
        refused("", json.validate('{"type":', 1))
        refused("", json.validate("", 1))
        refused("", json.validate("5", 1))
        refused("", json.validate({ 1, x = 2 }, 1))
        refused("", json.validate({ ["$ref"] = "#/$defs/none" }, 1))
        refused("", json.validate({ pattern = "(" }, "x"))
        refused("", json.validate_string({ type = "text" }, "1"))
    end)
    case("a text that is no JSON is refused", function()
        refused("", json.validate_string({}, "{"))
        refused("", json.validate_string({}, ""))
    end)
    case("a whole float is an integer", function()
        t.values({ true, n = 1 }, json.validate({ type = "integer" }, 3.0))
        t.values({ true, n = 1 }, json.validate_string({ type = "integer" }, "3.0"))
        t.values({ true, n = 1 }, json.validate({ type = "number" }, 3))
        refused("", json.validate({ type = "integer" }, 3.5))
    end)
    case("an empty table is an object as data", function()
        t.values({ true, n = 1 }, json.validate({ type = "object" }, {}))
        refused("", json.validate({ type = "array" }, {}))
        t.values({ true, n = 1 }, json.validate({ properties = { list = { type = "object" } } }, { list = {} }))
    end)
    case("a table with a first element is its list", function()
        t.values({ true, n = 1 }, json.validate({ type = "array", maxItems = 2 }, { 1, 2, x = 3 }))
        refused("", json.validate({ type = "object" }, { 1 }))
    end)
    case("other keys become text, other values become text", function()
        t.values({ true, n = 1 }, json.validate({ type = "object", required = { "5", "true" } }, { [5] = 1, [true] = 2 }))
        t.values({ true, n = 1 }, json.validate({ type = "string" }, print))
    end)
    case("an empty table in a schema is an empty list, or the empty map that the draft wants there", function()
        t.values({ true, n = 1 }, json.validate({ type = "object", required = {} }, { a = 1 }))
        t.values({ true, n = 1 }, json.validate({ type = "object", properties = {} }, { a = 1 }))
        t.values({ true, n = 1 }, json.validate({ patternProperties = {}, ["$defs"] = {}, dependentSchemas = {} }, { a = 1 }))
        t.values({ true, n = 1 }, json.validate({}, 5))
        t.values({ true, n = 1 }, json.validate({ properties = { any = {} }, items = {} }, { any = 5 }))
        refused("", json.validate({ type = "object", properties = {}, additionalProperties = false }, { a = 1 }))
    end)
    case("format asserts nothing", function()
        t.values({ true, n = 1 }, json.validate({ type = "string", format = "email" }, "no address"))
        t.values({ true, n = 1 }, json.validate({ type = "string", format = "date" }, "no date"))
    end)
    case("the draft's keywords hold", function()
        local rows = {
            { '{"enum":["a",1,null]}', "a", "b" },
            { '{"const":{"a":[1]}}', { a = { 1 } }, { a = { 2 } } },
            { '{"minimum":1,"exclusiveMaximum":3}', 2.5, 3 },
            { '{"multipleOf":0.5}', 1.5, 1.25 },
            { '{"minLength":2,"maxLength":3}', "éé", "é" },
            { '{"pattern":"^a+$"}', "aa", "ab" },
            { '{"prefixItems":[{"type":"string"}],"items":{"type":"integer"}}', { "x", 1 }, { "x", "y" } },
            { '{"contains":{"const":1}}', { 2, 1 }, { 2 } },
            { '{"uniqueItems":true}', { 1, 2 }, { 1, 1 } },
            { '{"minProperties":1}', { a = 1 }, {} },
            { '{"propertyNames":{"maxLength":1}}', { a = 1 }, { ab = 1 } },
            { '{"patternProperties":{"^n":{"type":"integer"}}}', { n1 = 1 }, { n1 = "x" } },
            { '{"dependentRequired":{"a":["b"]}}', { a = 1, b = 2 }, { a = 1 } },
            { '{"allOf":[{"minimum":1},{"maximum":3}]}', 2, 4 },
            { '{"anyOf":[{"type":"string"},{"type":"integer"}]}', 1, true },
            { '{"oneOf":[{"minimum":1},{"maximum":3}]}', 4, 2 },
            { '{"not":{"type":"string"}}', 1, "x" },
            { '{"if":{"type":"string"},"then":{"minLength":2},"else":{"minimum":2}}', "ab", 1 },
            { '{"$ref":"#/$defs/n","$defs":{"n":{"type":"integer"}}}', 1, "x" },
            { '{"properties":{"a":true},"unevaluatedProperties":false}', { a = 1 }, { b = 1 } },
        }
        for _, row in ipairs(rows) do
            t.equal(json.validate(row[1], row[2]), true, row[1])
            t.equal((json.validate(row[1], row[3])), false, row[1])
        end
    end)
    case("data without end is refused", function()
        local loop = {}
        loop.again = loop
        refused("", json.validate({}, loop))
        refused("", json.validate_string({}, string.rep("[", 1000)))
    end)
    case("more schemas than are kept give the same answers", function()
        for round = 1, 2 do
            for i = 1, 120 do
                t.equal(json.validate({ const = i }, i), true)
                t.equal((json.validate({ const = i }, i + 1)), false)
            end
        end
    end)
    return done()
end

return { main = main }
