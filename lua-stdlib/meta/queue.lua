---@meta queue

---Queues of messages for functions.
---@class queue
local queue = {}

---[Y] puts it into the queue
---@param queue string
---@param data any
---@param headers? table
---@return boolean?
---@return Error?
function queue.publish(queue, data, headers) end

---what the running function handles
---@return queue.Message?
---@return Error?
function queue.message() end

---[Y] message_count and ready
---@param queue string
---@return table?
---@return Error?
function queue.info(queue) end

---@class queue.Message
local Message = {}

---a UUID, the same when it comes again
---@return string?
---@return Error?
function Message:id() end

---a header, or nil
---@param name string
---@return any
---@return Error?
function Message:header(name) end

---all of them
---@return table?
---@return Error?
function Message:headers() end

---[Y] it is done
---@return boolean?
---@return Error?
function Message:ack() end

---[Y] it comes again, at the end of the queue
---@return boolean?
---@return Error?
function Message:nack() end

return queue
