// Processes that are written down in one thread and go on in another, on this node or on one that knows nothing of the first.

import { afterEach, beforeEach, expect, test } from 'vitest'
import type * as Moonmesh from '../../runtime/index.ts'
import { Cli } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

const { createNode, defineActor, describeDocument } = (await import(
  '../../dist/runtime/index.js' as string
)) as typeof Moonmesh

const STORY = `local time = require("time")
return function()
    local inbox, out, log = process.inbox(), channel.new(), {}
    local tick = time.ticker("20ms")
    local made = setmetatable({}, { __index = function(_, key) return key .. "?" end })
    local squares = coroutine.wrap(function() local i = 0 while true do i = i + 1 coroutine.yield(i * i) end end)
    coroutine.spawn(function() while true do out:send({ squares(), made.x }) time.sleep("5ms") end end)
    local ticks, root, isAsked = 0, 0, false
    while true do
        local got = channel.select({ inbox:case_receive(), out:case_receive(), tick:channel():case_receive() })
        if got.channel == inbox and got.value:topic() == "report" then
            isAsked = true
        elseif got.channel == inbox then
            local busy = 0
            for i = 1, 200000 do busy = busy + i end
            log[#log + 1] = got.value:payload():data() .. " " .. busy
        elseif got.channel == out then
            root = root + 1
            assert(got.value[1] == root * root and got.value[2] == "x?")
        else
            ticks = ticks + 1
        end
        if isAsked and ticks > 2 and root > 2 then
            return { log = log, pid = process.pid(), big = math.maxinteger // 2 }
        end
    end
end`

let cli: Cli
let nodes: Moonmesh.Node[]

beforeEach(() => {
  cli = new Cli()
  nodes = []
})

afterEach(async () => {
  for (const node of nodes) await node.stop({ force: true })
  await cli.close()
})

async function started(name: string): Promise<Moonmesh.Node> {
  const host = { kind: 'process.host', host: { workers: 1 }, lifecycle: { auto_start: true } }
  const node = await createNode({
    entries: [
      { id: 'app:a', ...host },
      { id: 'app:b', ...host },
      { id: 'app:story', kind: 'process.lua', source: STORY, modules: ['time'] },
    ],
    set: [`node.name=${name}`, `node.data_dir=${cli.dir}/${name}`],
    log: false,
  })
  nodes.push(node)
  await node.start()
  return node
}

/** Its result, as whoever monitors it hears of it. */
const report = defineActor('report', async (self, pid: string) => {
  await self.monitor(pid)
  await self.send(pid, 'report')
  const event = await self.events.receive({ timeoutMs: 20_000 })
  if (event?.kind !== 'exit') throw new Error('it did not end')
  if (event.result.error !== undefined) throw event.result.error
  return event.result.value
})

test('a process with state, coroutines, channels and timers goes on in another thread and on another node', {
  timeout: 60_000,
}, async () => {
  const [first, second] = [await started('first'), await started('second')]
  let node = first
  let pid = await node.spawn('app:story', { host: 'app:a' })
  const sent: string[] = []
  for (let hop = 0; hop < 8; hop++) {
    for (let i = 0; i < 3; i++) {
      await node.send(pid, 'work', `${hop}.${i}`)
      sent.push(`${hop}.${i} 20000100000`)
    }
    if (hop % 2 === 0) await new Promise((next) => setTimeout(next, 30))
    const document: Uint8Array = await node.capture(pid, { stop: true })
    expect(describeDocument(document)).toMatchObject({ pid, entry: 'app:story', node: node.name })
    await eventually(async () => (await node.processes()).every((info) => info.pid !== pid))
    if (hop % 3 === 2) node = node === first ? second : first
    pid = await node.resume(document, { host: hop % 2 === 0 ? 'app:b' : 'app:a' })
  }
  expect(await node.exec(report, { args: [pid] })).toEqual({ log: sent, pid, big: 4611686018427387903n })
})
