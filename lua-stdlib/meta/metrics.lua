---@meta metrics

---Counters, gauges and histograms.
---@class metrics
local metrics = {}

---one more
---@param name string
---@param labels? table<string
---@param string> any
---@return boolean?
---@return Error?
function metrics.counter_inc(name, labels, string>) end

---n more
---@param name string
---@param n number
---@param labels? table<string
---@param string> any
---@return boolean?
---@return Error?
function metrics.counter_add(name, n, labels, string>) end

---the value
---@param name string
---@param value number
---@param labels? table<string
---@param string> any
---@return boolean?
---@return Error?
function metrics.gauge_set(name, value, labels, string>) end

---one more than now
---@param name string
---@param labels? table<string
---@param string> any
---@return boolean?
---@return Error?
function metrics.gauge_inc(name, labels, string>) end

---one less than now
---@param name string
---@param labels? table<string
---@param string> any
---@return boolean?
---@return Error?
function metrics.gauge_dec(name, labels, string>) end

---one observation
---@param name string
---@param value number
---@param labels? table<string
---@param string> any
---@return boolean?
---@return Error?
function metrics.histogram(name, value, labels, string>) end

return metrics
