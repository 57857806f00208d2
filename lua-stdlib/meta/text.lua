---@meta text

---Regular expressions, differences, splitting.
---@class text
local text = {}

---@class text.regexp
text.regexp = {}

---a pattern by the rules of RE2: linear time, no look-around, no back-references
---@param pattern string
---@return text.Regexp?
---@return Error?
function text.regexp.compile(pattern) end

---@class text.diff
text.diff = {}

---compares and patches
---@param options? table
---@return text.Differ?
---@return Error?
function text.diff.new(options) end

---@class text.splitter
text.splitter = {}

---cuts between paragraphs, lines, words
---@param options? table
---@return text.Splitter?
---@return Error?
function text.splitter.recursive(options) end

---the same by headings
---@param options? table
---@return text.Splitter?
---@return Error?
function text.splitter.markdown(options) end

---@class text.Regexp
local Regexp = {}

---whether it matches somewhere
---@param s string
---@return boolean
function Regexp:match_string(s) end

---the first match
---@param s string
---@return string?
function Regexp:find_string(s) end

---all of them
---@param s string
---@return string[]
function Regexp:find_all_string(s) end

---the first match and its groups, "" for one that took no part
---@param s string
---@return string[]?
function Regexp:find_string_submatch(s) end

---the same for all
---@param s string
---@return string[][]
function Regexp:find_all_string_submatch(s) end

---{first, last}, or nil
---@param s string
---@return integer[]?
function Regexp:find_string_index(s) end

---the same for all
---@param s string
---@return integer[][]?
function Regexp:find_all_string_index(s) end

---$1, ${1}, ${name} stand for groups, $$ for a dollar sign
---@param s string
---@param replacement string
---@return string
function Regexp:replace_all_string(s, replacement) end

---the pieces between the matches, at most n
---@param s string
---@param n? integer
---@return string[]
function Regexp:split(s, n) end

---how many groups
---@return integer
function Regexp:num_subexp() end

---their names, "" first and for those without
---@return string[]
function Regexp:subexp_names() end

---the pattern as it was written
---@return string
function Regexp:string() end

---@class text.Differ
local Differ = {}

---a list of {operation = "equal", "delete" or "insert", text = …}
---@param a string
---@param b string
---@return table[]?
---@return Error?
function Differ:compare(a, b) end

---insertions, deletions, equals, in bytes
---@param diffs table[]
---@return table
function Differ:summarize(diffs) end

---with colours for a terminal
---@param diffs table[]
---@return string?
---@return Error?
function Differ:pretty_text(diffs) end

---with <del>, <ins>, <span>
---@param diffs table[]
---@return string?
---@return Error?
function Differ:pretty_html(diffs) end

---a list of {text = …}
---@param a string
---@param b string
---@return table[]?
---@return Error?
function Differ:patch_make(a, b) end

---the text, and whether all could be applied
---@param patches table[]
---@param s string
---@return string
---@return boolean
function Differ:patch_apply(patches, s) end

---@class text.Splitter
local Splitter = {}

---the chunks
---@param s string
---@return string[]?
---@return Error?
function Splitter:split_text(s) end

---from {content, metadata} each, the same of every chunk
---@param pages table[]
---@return table[]?
---@return Error?
function Splitter:split_batch(pages) end

return text
