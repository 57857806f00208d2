---@meta fs

---Files in volumes, which scripts cannot leave.
---@class fs
local fs = {}

---@class fs.type
---@field FILE "file"
---@field DIR "directory"
fs.type = { FILE = "file", DIR = "directory" }

---@class fs.seek
---@field SET "set"
---@field CUR "cur"
---@field END "end"
fs.seek = { SET = "set", CUR = "cur", END = "end" }

---@alias fs.FileType "file"|"directory"
---@alias fs.WriteMode "w"|"a"|"wx"
---@alias fs.OpenMode "r"|"w"|"wx"|"a"
---@alias fs.Whence "set"|"cur"|"end"
---@alias fs.Split "lines"|"words"|"bytes"|"runes"

---@class fs.Info
---@field name string
---@field size integer bytes
---@field mode integer permission bits
---@field modified integer Unix seconds
---@field is_dir boolean
---@field type fs.FileType

---@class fs.Entry
---@field name string
---@field type fs.FileType

---A handle on the volume of an fs.directory entry.
---@param id string
---@return fs.Volume? volume
---@return Error? err
function fs.get(id) end

---A handle with a working directory of its own.
---@class fs.Volume
local Volume = {}

---@param p string
---@return string? bytes
---@return Error? err
function Volume:readfile(p) end

---@param p string
---@return string? bytes
---@return Error? err
function Volume:read_file(p) end

---@param p string
---@param data string|stream.Stream|fs.File
---@param mode? fs.WriteMode "w" by default
---@return boolean ok
---@return Error? err
function Volume:writefile(p, data, mode) end

---@param p string
---@param data string|stream.Stream|fs.File
---@param mode? fs.WriteMode "w" by default
---@return boolean ok
---@return Error? err
function Volume:write_file(p, data, mode) end

---@param p string
---@return boolean? exists
---@return Error? err for bad paths only
function Volume:exists(p) end

---@param p string
---@return boolean isdir
---@return Error? err
function Volume:isdir(p) end

---@param p string
---@return fs.Info? info
---@return Error? err
function Volume:stat(p) end

---One level.
---@param p string
---@return boolean ok
---@return Error? err
function Volume:mkdir(p) end

---A file, a link or an empty directory.
---@param p string
---@return boolean ok
---@return Error? err
function Volume:remove(p) end

---For a `for`: entries sorted by name.
---@param p string
---@return (fun(listing: userdata): fs.Entry?)? next
---@return userdata|Error listing
function Volume:readdir(p) end

---@param p string
---@param mode fs.OpenMode
---@return fs.File? file
---@return Error? err
function Volume:open(p, mode) end

---@param p string
---@return boolean ok
---@return Error? err
function Volume:chdir(p) end

---@return string directory
---@return nil
function Volume:pwd() end

---An open file. It closes when the process that opened it ends.
---@class fs.File
local File = {}

---At the end of the file: `nil` and an error of kind `NotFound`, message `EOF`.
---@param n? integer 4096 by default
---@return string? bytes
---@return Error? err
function File:read(n) end

---@param s string not empty
---@return boolean ok
---@return Error? err
function File:write(s) end

---@param whence fs.Whence
---@param offset integer
---@return integer? position
---@return Error? err
function File:seek(whence, offset) end

---@return fs.Info? info
---@return Error? err
function File:stat() end

---What was written is on the disk when it returns.
---@return boolean ok
---@return Error? err
function File:sync() end

---Closing again does nothing.
---@return boolean ok
---@return Error? err
function File:close() end

---@param split? fs.Split "lines" by default
---@return fs.Scanner? scanner
---@return Error? err
function File:scanner(split) end

---The tokens of a file, one after the other.
---@class fs.Scanner
local Scanner = {}

---Whether there is a further token.
---@return boolean
function Scanner:scan() end

---The token that the last `scan` found.
---@return string
function Scanner:text() end

---Why the scan ended, unless the file did.
---@return Error?
function Scanner:err() end

return fs
