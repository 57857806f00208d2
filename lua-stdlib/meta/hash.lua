---@meta hash

---Digests, keyed digests, FNV.
---@class hash
local hash = {}

---MD5
---@param data string
---@param raw? boolean
---@return string?
---@return Error?
function hash.md5(data, raw) end

---SHA-1
---@param data string
---@param raw? boolean
---@return string?
---@return Error?
function hash.sha1(data, raw) end

---SHA-256
---@param data string
---@param raw? boolean
---@return string?
---@return Error?
function hash.sha256(data, raw) end

---SHA-512
---@param data string
---@param raw? boolean
---@return string?
---@return Error?
function hash.sha512(data, raw) end

---HMAC with MD5
---@param data string
---@param secret string
---@param raw? boolean
---@return string?
---@return Error?
function hash.hmac_md5(data, secret, raw) end

---HMAC with SHA-1
---@param data string
---@param secret string
---@param raw? boolean
---@return string?
---@return Error?
function hash.hmac_sha1(data, secret, raw) end

---HMAC with SHA-256
---@param data string
---@param secret string
---@param raw? boolean
---@return string?
---@return Error?
function hash.hmac_sha256(data, secret, raw) end

---HMAC with SHA-512
---@param data string
---@param secret string
---@param raw? boolean
---@return string?
---@return Error?
function hash.hmac_sha512(data, secret, raw) end

---FNV-1 of 32 bits
---@param data string
---@return number?
---@return Error?
function hash.fnv32(data) end

---FNV-1 of 64 bits, as a float: what is below its precision is rounded
---@param data string
---@return number?
---@return Error?
function hash.fnv64(data) end

return hash
