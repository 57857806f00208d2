---@meta compress

---gzip, deflate, zlib, brotli and zstd.
---@class compress
local compress = {}

---@class compress.gzip
compress.gzip = {}

---smaller, mostly
---@param data string
---@param options? table
---@return string?
---@return Error?
function compress.gzip.encode(data, options) end

---the data
---@param data string
---@param options? table
---@return string?
---@return Error?
function compress.gzip.decode(data, options) end

---@class compress.deflate
compress.deflate = {}

---smaller, mostly
---@param data string
---@param options? table
---@return string?
---@return Error?
function compress.deflate.encode(data, options) end

---the data
---@param data string
---@param options? table
---@return string?
---@return Error?
function compress.deflate.decode(data, options) end

---@class compress.zlib
compress.zlib = {}

---smaller, mostly
---@param data string
---@param options? table
---@return string?
---@return Error?
function compress.zlib.encode(data, options) end

---the data
---@param data string
---@param options? table
---@return string?
---@return Error?
function compress.zlib.decode(data, options) end

---@class compress.brotli
compress.brotli = {}

---smaller, mostly
---@param data string
---@param options? table
---@return string?
---@return Error?
function compress.brotli.encode(data, options) end

---the data
---@param data string
---@param options? table
---@return string?
---@return Error?
function compress.brotli.decode(data, options) end

---@class compress.zstd
compress.zstd = {}

---smaller, mostly
---@param data string
---@param options? table
---@return string?
---@return Error?
function compress.zstd.encode(data, options) end

---the data
---@param data string
---@param options? table
---@return string?
---@return Error?
function compress.zstd.decode(data, options) end

return compress
