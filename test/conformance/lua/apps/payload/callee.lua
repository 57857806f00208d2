return {
    echo = function(value) return value end,
    broken = function() return nil, errors.new{ message = "sold out", kind = errors.CONFLICT } end,
}
