-- Brings the data of the cluster to version 2, if nobody has done so yet.

local store = require("store")
local system = require("system")
local time = require("time")

local WANTED = 2

--- What there is to do. `token` rises with every grant of the lock: whoever works late, with an old one, changes nothing any more.
local function migrate(versions, from, token)
    for version = from + 1, WANTED do
        print("migrating to version " .. version .. " on " .. system.node.id())
        time.sleep("300ms")
        assert(versions:put("schema", version, { fence = token, lock = "migration" }))
    end
end

local function main()
    local versions = assert(store.get("lock:versions"))
    local version, err
    repeat -- until there is a group that keeps the store
        version, err = versions:get("schema")
    until version or err:kind() == errors.NOT_FOUND or not err:retryable()

    local ok, err, token
    repeat
        ok, err, token = system.lock.acquire("migration", { wait = "30s" })
    until ok or not (err and err:retryable())
    assert(ok, err)

    version = versions:get("schema") or 0
    if version < WANTED then
        migrate(versions, version, token)
        print("migrated on " .. system.node.id())
    else
        print("version " .. version .. " is there already, says " .. system.node.id())
    end
    assert(system.lock.release("migration"))
end

return { main = main }
