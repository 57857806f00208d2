-- Keeps the accounts. One process handles one request at a time, so no two trades can get in each other's way.
--
-- A request is a message of topic "bank" with { ref, op, ... }; its answer has topic "bank.reply" and { ref, value } or { ref, error }.

local COINS_AT_START = 1000

local accounts = {}
local trades = 0

local operations = {
    -- Finds the account of `who`, or opens one.
    open = function(request)
        accounts[request.who] = accounts[request.who] or { coins = COINS_AT_START, iron = 0 }
        return accounts[request.who]
    end,

    -- Buys `amount` of iron for `who`; sells when it is negative.
    trade = function(request)
        local account = accounts[request.who]
        local cost = request.amount * request.price
        if account.coins < cost or account.iron + request.amount < 0 then
            return nil, errors.new({ message = "not enough coins or iron", kind = errors.CONFLICT, retryable = false })
        end
        account.coins = account.coins - cost
        account.iron = account.iron + request.amount
        trades = trades + 1
        return account
    end,

    report = function()
        return { accounts = accounts, trades = trades }
    end,
}

local function main()
    local requests = process.listen("bank", { message = true }) -- with { message = true } we see who sent it
    local events = process.events()
    assert(process.registry.register("bank"))
    print("the bank is open")
    while true do
        local got = channel.select({ events:case_receive(), requests:case_receive() })
        if got.channel == events then
            return -- CANCEL: the node stops
        end
        local request = got.value:payload():data()
        local value, err = operations[request.op](request)
        process.send(got.value:from(), "bank.reply", { ref = request.ref, value = value, error = err })
    end
end

return { main = main }
