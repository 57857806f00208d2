local fs = require("fs")

-- Opens files and leaves them open.
local function main(count)
    local volume = assert(fs.get("fs:data"))
    for i = 1, count do
        local _, err = volume:open("left-" .. i % 10, "w")
        if err then return i - 1 .. " " .. err:kind() .. " " .. err:message() end
    end
    return count
end

return { main = main }
