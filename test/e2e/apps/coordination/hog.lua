-- One of these keeps within its limits; many of them end the thread of their host.
return function(is_other)
    if not is_other then
        for _ = 1, 80 do process.spawn("coordination:hog", "coordination:fragile", true) end
    end
    local t = {}
    for i = 1, 20000 do t[i] = { "some", "data", i } end
    channel.new():receive()
    return #t
end
