local function typed()
    return errors.new{ message = "sold out", kind = "OutOfStock", retryable = true, details = { sku = "A1", left = { 0 } } }
end

return {
    typed = function() return nil, typed() end,
    untyped = function() return nil, errors.new("no kind") end,
    raises = function() error(typed()) end,
    echo = function(value) return value end,
    process = function() error(typed()) end,
}
