local security = require("security")

local function facts()
    local actor, scope = security.actor(), security.scope()
    return {
        actor = actor and actor:id(),
        level = actor and actor:meta().level,
        policies = scope and #scope:policies(),
        reads = security.can("docs.read", "a"),
        secrets = security.can("docs.read", "secret.b"),
    }
end

local function main(what)
    if what ~= "report" then return facts() end
    process.registry.register("sec.keeper")
    while true do
        local message = process.inbox():receive()
        process.send(message:from(), "facts", facts())
    end
end

return { main = main }
