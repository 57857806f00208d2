// `runtime init [DIR]`: writes a small app that runs: two actors that talk to each other, and a test.

import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { codeOf, messageOf } from '../../base/errors.ts'
import { makeDirectory } from '../../make-directory.ts'
import { CommandFailure, EXIT_FAILED, EXIT_OK } from '../exit.ts'
import { commandName } from '../invocation.ts'
import { type CommonOptions, Output } from '../output.ts'

export function addInit(command: Command, end: (exitCode: number) => void): void {
  command
    .description('write a small app to start from: app.yaml, two Lua actors, a test')
    .argument('[dir]', 'where to; made if need be', '.')
    .action(async (dir: string, options: CommonOptions) => end(await init(dir, options)))
}

const FILES: Readonly<Record<string, string>> = {
  // For the Lua language server: what the modules offer, from the installed package.
  '.luarc.json': `{
  "runtime.version": "Lua 5.3",
  "workspace.library": ["node_modules/moonmesh/lua-stdlib/meta"],
  "workspace.checkThirdParty": false
}
`,
  'app.yaml': `version: "1.0"
namespace: app

entries:
  # Where processes run.
  - name: processes
    kind: process.host
    lifecycle: { auto_start: true }

  # An actor: a Lua script. Any number of processes can run it.
  - name: counter
    kind: process.lua
    source: file://counter.lua

  # A service keeps one process of it running, and starts it again when it fails.
  - name: counter.service
    kind: process.service
    process: counter
    host: processes
    input: [counter] # the arguments of main
    lifecycle: { auto_start: true }

  - name: visitor
    kind: process.lua
    source: file://visitor.lua
    modules: [time] # what the script may require

  - name: visitor.service
    kind: process.service
    process: visitor
    host: processes
    input: [1s]
    lifecycle: { auto_start: true, requires: [counter.service] }

  - name: counter.test
    kind: function.lua
    source: file://counter_test.lua
    method: main
    meta: { type: test, suite: counter }
`,
  'counter.lua': `-- Counts visits: whoever sends "visit" gets the count so far, on the topic "count".

local function main(name)
    local inbox, events = process.inbox(), process.events()
    if name then
        assert(process.registry.register(name)) -- others can send to the name instead of the PID
    end

    local count = 0
    while true do
        local got = channel.select({ events:case_receive(), inbox:case_receive() })
        if got.channel == events then
            if got.value.kind == process.event.CANCEL then
                return count -- asked to stop
            end
        elseif got.value:topic() == "visit" then
            count = count + 1
            process.send(got.value:from(), "count", count)
        end
    end
end

return { main = main }
`,
  'visitor.lua': `-- Visits the counter again and again, and prints what it says.

local time = require("time")

local function main(interval)
    local counts, events = process.listen("count"), process.events()
    local ticks = assert(time.ticker(interval)):channel()

    while true do
        local got = channel.select({ events:case_receive(), counts:case_receive(), ticks:case_receive() })
        if got.channel == events then
            if got.value.kind == process.event.CANCEL then
                return -- asked to stop
            end
        elseif got.channel == counts then
            print("visit number " .. got.value)
        else
            process.send("counter", "visit")
        end
    end
end

return { main = main }
`,
  'counter_test.lua': `-- A test is a function entry with meta.type "test". It passes unless it raises, returns false, or returns nil and an error.

local function main()
    local counter = assert(process.spawn("app:counter", "app:processes"))
    local counts = process.listen("count")
    for expected = 1, 3 do
        process.send(counter, "visit")
        local count = counts:receive()
        assert(count == expected, "expected " .. expected .. ", got " .. tostring(count))
    end
    process.cancel(counter, "test is over")
end

return { main = main }
`,
}

async function init(given: string, options: CommonOptions): Promise<number> {
  const dir = given === '' ? '.' : given
  const output = Output.standard(options)
  const names = Object.keys(FILES)
  const taken = await namesTakenIn(dir, names)
  if (taken.length > 0) {
    const there = taken.map((name) => join(dir, name)).join(', ')
    throw new CommandFailure(
      EXIT_FAILED,
      `nothing was written: ${there} ${taken.length === 1 ? 'exists' : 'exist'} already`,
    )
  }
  try {
    await makeDirectory(dir)
    // wx: also what came to be since the look above is left alone.
    for (const [name, text] of Object.entries(FILES)) await writeFile(join(dir, name), text, { flag: 'wx' })
  } catch (error) {
    const isFile = codeOf(error) === 'EEXIST' || codeOf(error) === 'ENOTDIR'
    const why = isFile ? `${dir} is, or lies below, a file and not a folder; name another` : messageOf(error)
    throw new CommandFailure(EXIT_FAILED, `cannot write the app: ${why}`)
  }
  const next = [`${commandName()} run app.yaml`, `${commandName()} test app.yaml`]
  if (output.isJson) {
    output.json({ dir, files: names, next })
    return EXIT_OK
  }
  for (const name of names) output.line(`wrote ${join(dir, name)}`)
  output.line(`\nrun it:   ${dir === '.' ? '' : `cd ${shellWord(dir)} && `}${next[0]}`)
  output.line(`test it:  ${next[1]}`)
  return EXIT_OK
}

async function namesTakenIn(dir: string, names: readonly string[]): Promise<string[]> {
  const taken: string[] = []
  for (const name of names) {
    const isThere = await access(join(dir, name)).then(
      () => true,
      () => false,
    )
    if (isThere) taken.push(name)
  }
  return taken
}

const shellWord = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\\\''")}'`)
