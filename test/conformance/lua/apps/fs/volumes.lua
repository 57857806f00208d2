local fs = require("fs")
local t = require("expect")

-- Like every operation, it may be called while the chunk loads.
local early = fs.get("fs:data")

local function main()
    local case, done = t.cases()

    case("get gives a handle and nil", function()
        local volume, err = t.count(2, fs.get("fs:data"))
        t.equal(type(volume), "userdata")
        t.equal(err, nil)
        t.equal(type(volume.readfile), "function")
        t.equal(tostring(volume), "fs.Volume{fs:data}")
        t.values({ "/", nil, n = 2 }, early:pwd())
    end)
    case("what is no volume", function()
        t.fails("Invalid", "filesystem name required", fs.get(""))
        t.fails("NotFound", "filesystem not found", fs.get("fs:nowhere"))
        t.fails("NotFound", "filesystem not found", fs.get("fs:processes"))
        t.raises("string expected", fs.get)
        t.raises("string expected", fs.get, {})
    end)
    case("constants", function()
        t.equal({ fs.type.FILE, fs.type.DIR }, { "file", "directory" })
        t.equal({ fs.seek.SET, fs.seek.CUR, fs.seek.END }, { "set", "cur", "end" })
    end)
    case("each handle has its own directory", function()
        local a, b = fs.get("fs:data"), fs.get("fs:data")
        a:mkdir("own")
        t.values({ true, nil, n = 2 }, a:chdir("own"))
        t.values({ "/own", nil, n = 2 }, a:pwd())
        t.values({ "/", nil, n = 2 }, b:pwd())
        a:chdir("..")
        t.equal((a:pwd()), "/")
        a:remove("own")
    end)
    case("a directory beside the declaring file", function()
        t.values({ "first line\r\nsecond line\n", nil, n = 2 }, fs.get("fs:shipped"):readfile("read-me.txt"))
    end)
    case("the mode masks what is created", function()
        local volume = fs.get("fs:private")
        assert(volume:writefile("f", "x"))
        assert(volume:mkdir("d"))
        t.equal(volume:stat("f").mode, 384)
        t.equal(volume:stat("d").mode, 448)
        t.equal(volume:stat("/").mode, 448)
        local other = fs.get("fs:data")
        assert(other:writefile("f", "x"))
        local mode = other:stat("f").mode
        t.truthy(mode >= 384 and mode <= 420, mode)
        other:remove("f")
    end)
    case("without the owner's bits reading or writing is refused", function()
        local volume = fs.get("fs:unwritable")
        t.truthy(volume:readfile("read-me.txt"))
        t.fails_with_false("PermissionDenied", "permission denied", volume:writefile("new", "x"))
        t.fails_with_false("PermissionDenied", "permission denied", volume:mkdir("new"))
        t.fails_with_false("PermissionDenied", "permission denied", volume:remove("read-me.txt"))
        t.fails("PermissionDenied", "permission denied", volume:open("read-me.txt", "a"))
        local dark = fs.get("fs:unreadable")
        t.fails("PermissionDenied", "permission denied", dark:readfile("x"))
        t.fails("PermissionDenied", "permission denied", dark:readdir("/"))
        t.fails("PermissionDenied", "permission denied", dark:open("x", "r"))
    end)
    case("paths that are none, for every method", function()
        local volume = fs.get("fs:data")
        local calls = {
            { "readfile" }, { "read_file" }, { "writefile", "x", first = false }, { "write_file", "x", first = false }, { "exists" },
            { "isdir", first = false }, { "stat" }, { "mkdir", first = false }, { "remove", first = false }, { "readdir" }, { "open", "r" },
            { "chdir", first = false },
        }
        for _, call in ipairs(calls) do
            for path, fragment in pairs({
                [""] = "path required", ["../x"] = "path traversal not allowed", ["/.."] = "path traversal not allowed",
                ["a/../../b"] = "path traversal not allowed", ["a\0b"] = "null byte",
            }) do
                local method = volume[call[1]]
                if call.first == false then t.fails_with_false("Invalid", fragment, method(volume, path, call[2]))
                else t.fails("Invalid", fragment, method(volume, path, call[2])) end
            end
            t.raises("string expected", volume[call[1]], volume)
            t.raises("fs.Volume expected", volume[call[1]], {}, "x")
        end
    end)
    return done()
end

return { main = main }
