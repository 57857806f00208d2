---@meta channel

---Channels between the coroutines of one process.
---@class channel
channel = {}

---@class ChannelCase

---@class Selected
---@field channel? Channel
---@field value any
---@field ok boolean
---@field default? boolean

---@param size? integer how many values it holds without a receiver; 0: sender and receiver meet
---@return Channel
function channel.new(size) end

---Waits for the first case that is ready, in the order of the list. May wait.
---@param cases ChannelCase[]|{ default: boolean }
---@param default? boolean do not wait
---@return Selected
function channel.select(cases, default) end

---@class Channel
local Channel = {}

---Hands a value over. May wait. Raises when the channel is closed.
---@param value any
---@return boolean
function Channel:send(value) end

---The next value and true, or nil and false when the channel is closed. May wait.
---@return any value
---@return boolean ok
function Channel:receive() end

function Channel:close() end

---@param value any
---@return ChannelCase
function Channel:case_send(value) end

---@return ChannelCase
function Channel:case_receive() end

return channel
