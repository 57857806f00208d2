// Debian's lua5.3, which says what programs print.

import { spawnSync } from 'node:child_process'

export const isInstalled = spawnSync('lua5.3', ['-v']).status === 0

/** As many VM instructions end a program, with this error. */
const INSTRUCTIONS_MAX = 5_000_000
export const TOO_LONG = 'too long'
const OUTPUT_MAX = 512 * 1024 * 1024
const TIMEOUT_MS = 60_000

/** Each program has globals of its own; lengths stand before programs and before what they print. */
const RUNNER = `
local read, write, format, tostring, concat = io.read, io.write, string.format, tostring, table.concat
local sethook, pcall, error, load, select = debug.sethook, pcall, error, load, select
local base, lines = {}, {}
for _, name in ipairs { "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset",
  "select", "setmetatable", "tonumber", "tostring", "type", "xpcall", "string", "table", "math", "coroutine" } do base[name] = _G[name] end
local function print(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  lines[#lines + 1] = concat(parts, "\\t") .. "\\n"
end
base.print = print
local preludeLength = read("n", "L")
assert(load(read(preludeLength), "=prelude", "t", base))()
while true do
  local length = read("n", "L")
  if length == nil then break end
  local source = read(length)
  lines = {}
  if base.reset then base.reset() end
  local environment = setmetatable({}, { __index = base })
  environment._G = environment
  local f, why = load(source, "=t", "t", environment)
  if f == nil then lines[1] = "syntax " .. why .. "\\n"
  else
    sethook(function() sethook() error("${TOO_LONG}", 0) end, "", ${INSTRUCTIONS_MAX})
    local ok, err = pcall(f)
    sethook()
    if not ok then lines[#lines + 1] = "error " .. tostring(err) .. "\\n" end
  end
  local text = concat(lines)
  write(#text, "\\n", text)
end
`

/** @param programs byte strings   @param prelude runs first, and sets what all see   @returns what each prints; one that fails ends with `error ` and the error, a wrong one is `syntax ` and why */
export function reference(programs: readonly string[], prelude = '', timeout = TIMEOUT_MS): string[] {
  const input = [prelude, ...programs].map((program) => `${program.length}\n${program}`).join('')
  const { stdout, status, stderr } = spawnSync('lua5.3', ['-e', RUNNER], {
    input: Buffer.from(input, 'latin1'),
    encoding: 'latin1',
    maxBuffer: OUTPUT_MAX,
    timeout,
  })
  if (status !== 0) throw new Error(`lua5.3 ended with status ${status}: ${stderr}`)
  const results: string[] = []
  for (let at = 0; at < stdout.length; ) {
    const lineEnd = stdout.indexOf('\n', at)
    const end = lineEnd + 1 + Number(stdout.slice(at, lineEnd))
    results.push(stdout.slice(lineEnd + 1, end))
    at = end
  }
  return results
}
