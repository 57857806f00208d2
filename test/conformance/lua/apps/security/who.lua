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
    local inbox, events = process.inbox(), process.events()
    while true do
        local r = channel.select({ inbox:case_receive(), events:case_receive() })
        if r.channel == events then return end
        process.send(r.value:from(), "facts", facts())
    end
end

return { main = main }
