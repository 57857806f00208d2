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

---@class compress.DictOptions
---@field size? integer bytes of the dictionary at most, 256 to 1048576, by default 114688
---@field id? integer number of the dictionary; 0, the default: one that follows from the samples
---@field level? integer 1 to 22; accepted, of no effect

---@class compress.DictInfo
---@field id integer
---@field content_size integer bytes behind the tables

---A dictionary of what the samples have in common.
---@param samples string[] at least one of 8 bytes or more
---@param options? compress.DictOptions
---@return string? dictionary
---@return Error? err
function compress.zstd.train_dict(samples, options) end

---@param dictionary string
---@return compress.DictInfo? info
---@return Error? err
function compress.zstd.inspect_dict(dictionary) end

return compress
