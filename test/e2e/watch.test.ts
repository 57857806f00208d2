// `runtime run --watch`: edits come into force in the running node, mistakes do not. One node for the whole file.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cli, type Program } from '../tools/cli.ts'

let cli: Cli
let node: Program

beforeAll(async () => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP, 'plain.lua': PLAIN, 'keeper.lua': KEEPER, 'words.lua': words('hello') })
  node = cli.start(['run', 'app.yaml', '--watch', '--log-format', 'pretty', '--no-color'])
  await node.until('node n1 is ready')
})

afterAll(() => cli.close())

const APP = `version: "1.0"
namespace: live
node: { name: n1 }
entries:
  - { name: processes, kind: process.host, lifecycle: { auto_start: true } }
  - { name: words, kind: library.lua, source: "file://words.lua" }
  - { name: plain, kind: process.lua, source: "file://plain.lua", imports: { words: words } }
  - { name: plain.service, kind: process.service, process: plain, host: processes, lifecycle: { auto_start: true } }
  - { name: keeper, kind: process.lua, source: "file://keeper.lua", imports: { words: words } }
  - { name: keeper.service, kind: process.service, process: keeper, host: processes, lifecycle: { auto_start: true } }
`
const words = (greeting: string): string => `return { greeting = "${greeting}" }\n`
/** Says how it begins, and waits. */
const PLAIN = `local function main()
    print("plain says " .. words.greeting)
    process.events():receive()
end
return { main = main }
`
/** Keeps a count over new versions of itself. */
const KEEPER = `local function main(count)
    count = (count or 0) + 1
    process.set_options({ upgradable = true })
    print("keeper says " .. words.greeting .. " " .. count)
    local event = process.events():receive()
    if event.kind == process.event.OUTDATED then process.upgrade(nil, count) end
end
return { main = main }
`
const edit = (file: string, text: string): void => writeFileSync(join(cli.dir, file), text)

test('an edit of Lua: services start again, upgradable processes keep what they know', async () => {
  await node.until('plain says hello')
  await node.until('keeper says hello 1')
  edit('words.lua', words('good day'))
  await node.until('keeper says good day 2')
  await node.until('plain says good day')
  await node.until(
    'reloaded: changed live:words · 1 service started again: live:plain.service · 1 service told of new code: live:keeper.service',
  )
})

test('a mistake is told with its place, and the old version goes on', async () => {
  edit('plain.lua', PLAIN.replace('process.events():receive()', 'process.events(:receive()'))
  await node.until(/plain\.lua:3.*near ':'/)
  await node.until('nothing was reloaded; the old version goes on')
  edit('app.yaml', `${APP}  - { name: more, kind: proces.lua }\n`)
  await node.until(/app\.yaml:11:\d+ .*did you mean "process\.lua"/)
  const { stdout } = await cli.run(['ps', '--json'])
  expect(JSON.parse(stdout)).toHaveLength(2)
})

test('a mistake that is taken back: what runs is current again', async () => {
  edit('app.yaml', APP)
  edit('plain.lua', PLAIN)
  await node.until('reloaded: nothing had to change, what runs is current again')
})

test('mended, added and removed entries come into force; settings wait for the next start', async () => {
  edit('plain.lua', PLAIN.replace('plain says', 'plain now says'))
  const kept = APP.split('\n').filter((line) => !line.includes('keeper.service'))
  const more = `  - { name: more, kind: process.lua, source: "return { main = function() print('more is here') process.events():receive() end }" }
  - { name: more.service, kind: process.service, process: more, host: processes, lifecycle: { auto_start: true } }
shutdown: { timeout: 7s }
`
  edit('app.yaml', kept.join('\n') + more)
  await node.until('plain now says good day')
  await node.until('more is here')
  await node.until(
    /reloaded: (changed live:plain · )?added live:more, live:more\.service · removed live:keeper\.service/,
  )
  await node.until('settings changed: shutdown; they hold from the next start on')
  expect(readFileSync(join(cli.dir, '.runtime/n1/pid'), 'utf8').trim()).toBe(String(node.pid))
  expect(await cli.run(['run', 'app.yaml', '--watch', '--exec', 'live:more'])).toMatchObject({ code: 2 })
})
