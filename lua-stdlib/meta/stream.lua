---@meta stream

---Empty: streams come from other modules.
---@class stream
local stream = {}

---@alias stream.Whence "set"|"cur"|"end"
---@alias stream.Split "lines"|"words"|"bytes"|"runes"

---@class stream.Stat
---@field size integer -1 when nobody knows
---@field position integer
---@field readable boolean
---@field writable boolean
---@field seekable boolean

---A sequence of bytes. Every failure is an error of kind `Internal`.
---@class stream.Stream
local Stream = {}

---Up to `n` bytes. At the end of the stream: `nil, nil`.
---@param n? integer 32768 by default
---@return string? bytes
---@return Error? err
function Stream:read(n) end

---@param s string
---@return integer written 0 after a failure
---@return Error? err
function Stream:write(s) end

---@param whence? stream.Whence "set" by default
---@param offset? integer 0 by default
---@return integer position -1 after a failure
---@return Error? err
function Stream:seek(whence, offset) end

---@return boolean ok
---@return Error? err
function Stream:flush() end

---Closing again does nothing.
---@return boolean ok
---@return Error? err
function Stream:close() end

---@return stream.Stat? stat
---@return Error? err
function Stream:stat() end

---@param split? stream.Split "lines" by default
---@return stream.Scanner scanner
---@return nil
function Stream:scanner(split) end

---The tokens of a stream, one after the other.
---@class stream.Scanner
local Scanner = {}

---Whether there is a further token.
---@return boolean found
---@return Error? err
function Scanner:scan() end

---The token that the last `scan` found.
---@return string
function Scanner:text() end

---Why the scan ended, unless the stream did.
---@return string? message
function Scanner:err() end

return stream
