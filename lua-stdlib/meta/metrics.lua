---@meta metrics

---Counters, gauges and histograms.
---@class metrics
local metrics = {}

---one more
---@param name string
---@param labels? table<string, string>
---@return boolean?
---@return Error?
function metrics.counter_inc(name, labels) end

---n more
---@param name string
---@param n number
---@param labels? table<string, string>
---@return boolean?
---@return Error?
function metrics.counter_add(name, n, labels) end

---the value
---@param name string
---@param value number
---@param labels? table<string, string>
---@return boolean?
---@return Error?
function metrics.gauge_set(name, value, labels) end

---one more than now
---@param name string
---@param labels? table<string, string>
---@return boolean?
---@return Error?
function metrics.gauge_inc(name, labels) end

---one less than now
---@param name string
---@param labels? table<string, string>
---@return boolean?
---@return Error?
function metrics.gauge_dec(name, labels) end

---one observation
---@param name string
---@param value number
---@param labels? table<string, string>
---@return boolean?
---@return Error?
function metrics.histogram(name, value, labels) end

return metrics
