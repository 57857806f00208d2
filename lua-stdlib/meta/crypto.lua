---@meta crypto

---Random data, keyed digests, authenticated encryption, tokens, key derivation.
---@class crypto
local crypto = {}

---@class crypto.random
crypto.random = {}

---@param n integer 1 to 1048576
---@return string? bytes
---@return Error? err
function crypto.random.bytes(n) end

---@param n integer 1 to 1048576
---@param charset? string its bytes are what the result is made of; letters and digits by default
---@return string? text
---@return Error? err
function crypto.random.string(n, charset) end

---A UUID of version 4.
---@return string? uuid
---@return Error? err
function crypto.random.uuid() end

---Keyed digests in lower-case hexadecimal. The key comes first.
---@class crypto.hmac
crypto.hmac = {}

---@param key string not empty
---@param data string
---@return string? hex
---@return Error? err
function crypto.hmac.sha256(key, data) end

---@param key string not empty
---@param data string
---@return string? hex
---@return Error? err
function crypto.hmac.sha512(key, data) end

---Authenticated encryption: nonce (12 bytes), encrypted data and tag (16 bytes) in one string.
---@class crypto.encrypt
crypto.encrypt = {}

---AES-GCM.
---@param data string
---@param key string 16, 24 or 32 bytes
---@param aad? string authenticated, not encrypted, not part of the result
---@return string? sealed
---@return Error? err
function crypto.encrypt.aes(data, key, aad) end

---ChaCha20-Poly1305.
---@param data string
---@param key string 32 bytes
---@param aad? string authenticated, not encrypted, not part of the result
---@return string? sealed
---@return Error? err
function crypto.encrypt.chacha20(data, key, aad) end

---@class crypto.decrypt
crypto.decrypt = {}

---@param sealed string
---@param key string 16, 24 or 32 bytes
---@param aad? string
---@return string? data
---@return Error? err
function crypto.decrypt.aes(sealed, key, aad) end

---@param sealed string
---@param key string 32 bytes
---@param aad? string
---@return string? data
---@return Error? err
function crypto.decrypt.chacha20(sealed, key, aad) end

---@alias crypto.jwt.Algorithm "HS256"|"HS384"|"HS512"|"RS256"

---@class crypto.jwt
crypto.jwt = {}

---@param claims table<string, any> a table `_header` in it goes into the token's header
---@param key string a secret, or for RS256 a private key in PEM
---@param alg? crypto.jwt.Algorithm HS256 by default
---@return string? token
---@return Error? err
function crypto.jwt.encode(claims, key, alg) end

---@param token string
---@param key string a secret, or for RS256 a public key or certificate in PEM
---@param alg? crypto.jwt.Algorithm the one that the token must name; HS256 by default
---@param require_exp? boolean whether there must be an `exp` claim; true by default
---@return table<string, any>? claims numbers are floats
---@return Error? err
function crypto.jwt.verify(token, key, alg, require_exp) end

---PBKDF2. The work is done on another thread.
---@param password string not empty
---@param salt string not empty
---@param iterations integer 1 to 10000000
---@param length integer bytes, 1 to 1048576
---@param hash? "sha256"|"sha512" sha256 by default
---@return string? key raw bytes
---@return Error? err
function crypto.pbkdf2(password, salt, iterations, length, hash) end

---Whether two strings are equal, in a time that does not tell where they differ.
---@param a string
---@param b string
---@return boolean
function crypto.constant_time_compare(a, b) end

return crypto
