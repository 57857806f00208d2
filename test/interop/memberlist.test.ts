// Bare nodes of Go's memberlist, current release, and our gossip in one cluster. cluster.md §3.

import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { VERSIONS } from '../../cluster/swim/core/settings.ts'
import { encodeTags } from '../../cluster/swim/wire/tags.ts'
import { openGossip, type TestGossip, type TestGossipOptions } from '../cluster/swim/gossip-node.ts'
import { eventually } from '../tools/eventually.ts'
import { freePort } from './foreign-process.ts'
import { buildMemberlist, MemberlistNode, type MemberlistOptions } from './memberlist-node.ts'

const program = buildMemberlist()
const opened: (() => Promise<unknown>)[] = []

afterAll(() => {
  if (program !== undefined) rmSync(dirname(program), { recursive: true, force: true })
})

afterEach(async () => {
  for (const close of opened.splice(0)) await close()
})

async function ours(name: string, options: TestGossipOptions = {}): Promise<TestGossip> {
  const settings = { versions: VERSIONS.memberlist, speaksSerf: false, ...options.settings }
  const node = await openGossip(name, { ...options, settings })
  opened.push(() => node.gossip.close())
  node.gossip.start()
  return node
}

async function theirs(name: string, options: MemberlistOptions = {}): Promise<MemberlistNode> {
  const node = await MemberlistNode.start(program as string, name, options)
  opened.push(() => node.kill())
  return node
}

const stateOf = (node: TestGossip, name: string): string | undefined =>
  node.gossip.members().find((member) => member.name === name)?.state

type Bind = { host: string; port: number }
type Variant = [string, TestGossipOptions, MemberlistOptions]
const key = Buffer.from('0123456789abcdef')
const VARIANTS: Variant[] = [
  ['plain', {}, {}],
  ['without compression', { envelope: { compression: false } }, { compression: false }],
  ['with a key of 16 bytes and a label', { key, label: 'blue' }, { key, label: 'blue' }],
  ['with a key of 32 bytes', { key: Buffer.alloc(32, 3) }, { key: Buffer.alloc(32, 3) }],
  // The oldest protocol pads what it encrypts, and has one port for all nodes.
  ...(process.platform === 'linux'
    ? ([['with its oldest protocol', { key }, { key, protocol: 1 }]] satisfies Variant[])
    : []),
]

/** Where the nodes of a test listen. */
async function binds({ protocol }: MemberlistOptions): Promise<() => { bind?: Bind }> {
  if (protocol !== 1) return () => ({})
  const port = await freePort()
  let count = 0
  return () => ({ bind: { host: `127.0.0.${++count}`, port } })
}

describe.skipIf(program === undefined).each(VARIANTS)('%s', (_, here, there) => {
  test('both sides list each other and see changes, departures and deaths', async () => {
    const place = await binds(there)
    const one = await ours('n1', { ...here, ...place(), tags: { zone: 'north' } })
    const two = await ours('n2', { ...here, ...place(), seeds: [one.seed] })
    const bare = await theirs('m1', { ...there, ...place(), join: `${one.seed.host}:${one.seed.port}` })
    const meta = (tags: Record<string, string>): string =>
      Buffer.from(encodeTags(new Map(Object.entries({ cluster_id: 'test', epoch: '1', ...tags }))), 'latin1').toString(
        'hex',
      )
    await eventually(async () => {
      const members = await bare.members()
      expect([...members.keys()]).toEqual(['m1', 'n1', 'n2'])
      expect(members.get('n1')).toBe(meta({ role: 'moonmesh', zone: 'north' }))
    })
    for (const node of [one, two]) {
      await eventually(() => expect(node.live()).toEqual(['m1', 'n1', 'n2']))
      const peer = node.gossip.members().find(({ name }) => name === 'm1')
      expect([peer?.epoch, peer?.tags.get('role')]).toEqual([undefined, 'bare'])
    }
    one.gossip.setTags(new Map([['zone', 'south']]))
    await eventually(() => expect(bare.lines()).toContain(`update n1 ${meta({ zone: 'south' })}`))
    // Frames are for members; a foreign node would not know what to do with them.
    two.gossip.broadcast({ frameKind: 0xe1, payload: Buffer.from('hello') }, 'key')
    await eventually(() => expect(one.frames).not.toEqual([]))
    await one.gossip.leave()
    await one.gossip.close()
    await eventually(() => expect(bare.lines()).toContain('leave n1'))
    expect(bare.hasSuspected('n1')).toBe(false)
    await two.gossip.close()
    await eventually(() => expect(bare.lines()).toContain('leave n2'))
    expect(bare.hasSuspected('n2')).toBe(true)
    expect(bare.lines().filter((line) => line.startsWith('user '))).toEqual([])
    expect(bare.output).not.toMatch(/unknown|decode|decrypt|malformed|checksum|truncated/i)
  })

  test('who leaves there has left here; who is killed there is dead here', async () => {
    const place = await binds(there)
    const leaver = await theirs('m1', { ...there, ...place() })
    const { host, port } = leaver.address
    const victim = await theirs('m2', { ...there, ...place(), join: `${host}:${port}` })
    const one = await ours('n1', { ...here, ...place(), seeds: [leaver.address] })
    await eventually(() => expect(one.live()).toEqual(['m1', 'm2', 'n1']))
    await leaver.leave()
    await eventually(() => expect(stateOf(one, 'm1')).toBe('left'))
    await victim.kill()
    await eventually(() => expect(stateOf(one, 'm2')).toBe('dead'))
    expect(one.gossip.statistics()).toMatchObject({ undecodable: 0, undecryptable: 0 })
  })
})

describe.skipIf(program === undefined)('memberlist', () => {
  test.each([
    ['another key', { key: Buffer.alloc(16, 1) }, { key: Buffer.alloc(16, 2) }],
    ['another label', { label: 'blue' }, { label: 'green' }],
    ['a label here only', { label: 'blue' }, {}],
    ['a label there only', {}, { label: 'blue' }],
  ])('%s keeps both apart', async (_, here, there) => {
    const bare = await theirs('m1', there)
    const one = await ours('n1', { ...here, seeds: [bare.address] })
    await eventually(() => expect(one.gossip.statistics().streams.opened).toBeGreaterThan(1))
    expect(await bare.join(one.seed.port)).toMatch(/^joined 0 /)
    expect(one.live()).toEqual(['n1'])
    expect([...(await bare.members()).keys()]).toEqual(['m1'])
  })

  test('versions of serf are refused on both sides', async () => {
    const bare = await theirs('m1')
    const settings = { versions: VERSIONS.serf, speaksSerf: true }
    const one = await ours('n1', { settings, seeds: [bare.address] })
    await eventually(() => expect(one.logs.map(({ event }) => event)).toContain('gossip_merge_refused'))
    expect(await bare.join(one.seed.port)).toMatch(/^joined 0 /)
    expect(one.live()).toEqual(['n1'])
  })

  test('a bare node that joins a cluster of twenty knows them all, and they know it', async () => {
    const nodes = [await ours('n00')]
    const seeds = [(nodes[0] as TestGossip).seed]
    for (let i = 1; i < 20; i++) nodes.push(await ours(`n${String(i).padStart(2, '0')}`, { seeds }))
    const bare = await theirs('m1', { join: `127.0.0.1:${seeds[0]?.port}` })
    await eventually(async () => expect((await bare.members()).size).toBe(21), { timeoutMs: 20_000 })
    for (const node of nodes) await eventually(() => expect(node.live()).toHaveLength(21), { timeoutMs: 20_000 })
  })
})
