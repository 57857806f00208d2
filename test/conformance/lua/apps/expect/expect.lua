-- A test is a function that goes through named cases and says at the end which of them failed:
--
--   local t = require("expect")
--   return { main = function()
--       local case, done = t.cases()
--       case("adds", function() t.equal(1 + 1, 2) end)
--       return done()
--   end }

local expect = {}

local function show(value, depth)
    depth = depth or 0
    if type(value) == "string" then
        if #value > 300 then value = string.sub(value, 1, 300) .. "…" end
        return string.format("%q", value)
    end
    if type(value) ~= "table" or depth > 3 then return tostring(value) end
    local parts = {}
    for k, v in pairs(value) do
        parts[#parts + 1] = "[" .. show(k, depth + 1) .. "] = " .. show(v, depth + 1)
        if #parts > 20 then break end
    end
    table.sort(parts)
    return "{" .. table.concat(parts, ", ") .. "}"
end

local function same(a, b)
    if rawequal(a, b) or a == b then return true end
    if type(a) ~= "table" or type(b) ~= "table" then return a ~= a and b ~= b end
    for k, v in pairs(a) do
        if not same(v, b[k]) then return false end
    end
    for k in pairs(b) do
        if a[k] == nil then return false end
    end
    return true
end

local function fail(text, level)
    error(text, (level or 1) + 2)
end

-- Values are equal; tables by what is in them.
function expect.equal(actual, wanted, what)
    if not same(actual, wanted) then
        fail((what and what .. ": " or "") .. "expected " .. show(wanted) .. ", got " .. show(actual))
    end
end

-- Exactly these values, and exactly as many: expect.values({true, nil, n = 2}, f())
function expect.values(wanted, ...)
    local count = wanted.n or #wanted
    local got = select("#", ...)
    if got ~= count then fail("expected " .. count .. " values, got " .. got .. ": " .. show({...})) end
    for i = 1, count do
        local value = (select(i, ...))
        if not same(value, wanted[i]) then
            fail("value " .. i .. ": expected " .. show(wanted[i]) .. ", got " .. show(value))
        end
    end
end

-- That many values come back; returns them.
function expect.count(wanted, ...)
    local got = select("#", ...)
    if got ~= wanted then fail("expected " .. wanted .. " values, got " .. got .. ": " .. show({...})) end
    return ...
end

local function check_error(err, kind, fragment)
    if type(err) ~= "userdata" then fail("expected an error object, got " .. show(err), 2) end
    if err:kind() ~= kind then
        fail("expected kind " .. kind .. ", got " .. err:kind() .. " (" .. err:message() .. ")", 2)
    end
    if fragment and not string.find(err:message(), fragment, 1, true) then
        fail("expected a message with " .. show(fragment) .. ", got " .. show(err:message()), 2)
    end
end

-- `nil, err` (or `false, err` when `first` says so), two values: expect.fails("Invalid", "empty key", ctx.get(""))
function expect.fails(kind, fragment, ...)
    local got = select("#", ...)
    local first, err = ...
    if got ~= 2 then fail("expected nil and an error, got " .. got .. " values: " .. show({...})) end
    if first ~= nil then fail("expected nil and an error, got " .. show(first)) end
    check_error(err, kind, fragment)
    return err
end

function expect.fails_with_false(kind, fragment, ...)
    local got = select("#", ...)
    local first, err = ...
    if got ~= 2 or first ~= false then fail("expected false and an error, got " .. got .. " values: " .. show({...})) end
    check_error(err, kind, fragment)
    return err
end

-- An error object of the kind whose message has the fragment.
function expect.error(err, kind, fragment)
    check_error(err, kind, fragment)
end

-- The function raises a text (or an error object) with the fragment in it.
function expect.raises(fragment, fn, ...)
    local ok, err = pcall(fn, ...)
    if ok then fail("expected an error with " .. show(fragment) .. ", but nothing was raised") end
    if not string.find(tostring(err), fragment, 1, true) then
        fail("expected an error with " .. show(fragment) .. ", got " .. show(tostring(err)))
    end
    return err
end

function expect.truthy(value, what)
    if not value then fail((what or "value") .. " is " .. tostring(value)) end
    return value
end

-- The text has the fragment in it.
function expect.contains(text, fragment)
    if not string.find(tostring(text), fragment, 1, true) then
        fail("expected " .. show(fragment) .. " in " .. show(tostring(text)))
    end
end

-- The collector of cases of one test.
function expect.cases()
    local failures, count = {}, 0
    local function case(name, fn)
        count = count + 1
        local ok, err = pcall(fn)
        if not ok then failures[#failures + 1] = name .. ": " .. tostring(err) end
    end
    local function done()
        if #failures == 0 then return count .. " cases" end
        error(#failures .. " of " .. count .. " cases failed\n" .. table.concat(failures, "\n"), 0)
    end
    return case, done
end

return expect
