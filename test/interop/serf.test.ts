// Agents of serf and our gossip in one cluster: each side sees the other's nodes, tags, departures and deaths. cluster.md §3.10.

import { afterEach, describe, expect, test } from 'vitest'
import { defaultSwimSettings } from '../../cluster/swim/core/settings.ts'
import { suspicionTerms } from '../../cluster/swim/core/suspicion.ts'
import { openGossip, type TestGossip, type TestGossipOptions } from '../cluster/swim/gossip-node.ts'
import { eventually } from '../tools/eventually.ts'
import { isInstalled } from './foreign-process.ts'
import { SERF_LOCAL, SerfAgent, type SerfOptions } from './serf-agent.ts'

const hasSerf = isInstalled('serf', ['version'], 'tests against serf agents')
const opened: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of opened.splice(0)) await close()
})

async function ours(name: string, options: TestGossipOptions = {}): Promise<TestGossip> {
  const node = await openGossip(name, { ...options, settings: { ...SERF_LOCAL, ...options.settings } })
  opened.push(() => node.gossip.close())
  node.gossip.start()
  return node
}

async function theirs(name: string, options: SerfOptions = {}): Promise<SerfAgent> {
  const agent = await SerfAgent.start(name, options)
  opened.push(() => agent.kill())
  return agent
}

const stateOf = (node: TestGossip, name: string): string | undefined =>
  node.gossip.members().find((member) => member.name === name)?.state

/** How long two nodes take at most to hold one of them for dead: the probe that finds it, its deadline, the suspicion, and its gossip. */
function detectionMs(): number {
  const settings = { ...defaultSwimSettings, ...SERF_LOCAL }
  return 3 * settings.probeIntervalMs + suspicionTerms(2, settings).minMs + 5 * settings.gossipIntervalMs
}

/** Until `attempt` holds; milliseconds. */
async function timeOf(attempt: () => unknown): Promise<number> {
  const startMs = performance.now()
  await eventually(attempt as () => Promise<void>, { timeoutMs: 30_000 })
  return performance.now() - startMs
}

const KEYS: [string, { key?: Uint8Array }][] = [
  ['plain', {}],
  ['with a key of 16 bytes', { key: Buffer.from('0123456789abcdef') }],
  ['with a key of 32 bytes', { key: Buffer.alloc(32, 0xa5) }],
]

describe.skipIf(!hasSerf).each(KEYS)('%s', (_, secret) => {
  test('serf joins us; both list all, with tags; who leaves has left, there and here', async () => {
    const one = await ours('n1', { ...secret, tags: { zone: 'north', empty: '' } })
    const two = await ours('n2', { ...secret, seeds: [one.seed] })
    const agent = await theirs('s1', { ...secret, tags: { colour: 'blue' }, join: `127.0.0.1:${one.seed.port}` })
    await eventually(async () => {
      const listed = await agent.members()
      expect(listed.map(({ name, status }) => `${name} ${status}`).sort()).toEqual(['n1 alive', 'n2 alive', 's1 alive'])
      const { addr, tags } = listed.find(({ name }) => name === 'n1') ?? {}
      expect(addr).toBe(`127.0.0.1:${one.seed.port}`)
      expect(tags).toEqual({ role: 'moonmesh', cluster_id: 'test', epoch: '1', zone: 'north' })
    })
    for (const node of [one, two]) {
      await eventually(() => expect(node.live()).toEqual(['n1', 'n2', 's1']))
      const agentHere = node.gossip.members().find(({ name }) => name === 's1')
      expect(agentHere).toMatchObject({ state: 'alive', epoch: undefined })
      expect(agentHere?.tags.get('colour')).toBe('blue')
    }
    one.gossip.setTags(new Map([['zone', 'south']]))
    await eventually(async () => {
      expect((await agent.members()).find(({ name }) => name === 'n1')?.tags['zone']).toBe('south')
    })
    await two.gossip.leave()
    await two.gossip.close()
    await eventually(async () => expect(await agent.status('n2')).toBe('left'))
    await agent.leave()
    await eventually(() => expect(stateOf(one, 's1')).toBe('left'))
    // A foreign node is nobody's member.
    expect(one.events.map(({ name }) => name)).not.toContain('s1')
    expect(one.gossip.statistics()).toMatchObject({ undecodable: 0, undecryptable: 0 })
    expect(agent.output).not.toMatch(/unknown type|decode|decrypt|malformed|checksum/i)
  })

  test('who is killed is dead here, and failed there, within the bound of the settings', async () => {
    const deadHere = async (): Promise<number> => {
      const agent = await theirs('s1', secret)
      const node = await ours('n1', { ...secret, seeds: [{ host: '127.0.0.1', port: agent.port }] })
      await eventually(async () => expect(await agent.status('n1')).toBe('alive'))
      await agent.kill()
      return timeOf(() => expect(stateOf(node, 's1')).toBe('dead'))
    }
    const failedThere = async (): Promise<number> => {
      const agent = await theirs('s2', secret)
      const node = await ours('n2', { ...secret, seeds: [{ host: '127.0.0.1', port: agent.port }] })
      await eventually(async () => expect(await agent.status('n2')).toBe('alive'))
      await node.gossip.close()
      return timeOf(async () => expect(await agent.status('n2')).toBe('failed'))
    }
    for (const tookMs of await Promise.all([deadHere(), failedThere()])) expect(tookMs).toBeLessThan(detectionMs())
  })
})

describe.skipIf(!hasSerf)('serf', () => {
  test.each([
    ['another key', { key: Buffer.alloc(16, 1) }, { key: Buffer.alloc(16, 2) }],
    ['a key here only', { key: Buffer.alloc(16, 1) }, {}],
    ['a key there only', {}, { key: Buffer.alloc(16, 1) }],
  ])('%s keeps both apart, with one clear line a minute', async (_, here, there) => {
    const agent = await theirs('s1', there)
    const one = await ours('n1', { ...here, seeds: [{ host: '127.0.0.1', port: agent.port }] })
    await eventually(() => expect(one.gossip.statistics().streams.opened).toBeGreaterThan(2))
    for (let i = 0; i < 3; i++) await expect(agent.join(one.seed.port)).rejects.toThrow()
    expect(one.live()).toEqual(['n1'])
    expect((await agent.members()).map(({ name }) => name)).toEqual(['s1'])
    expect(one.logs.filter(({ event }) => event === 'gossip_decrypt_failed')).toHaveLength(1)
    expect(one.logs.filter(({ event }) => event === 'gossip_unreadable')).toEqual([])
  })

  test('we and an agent confirm each other when a second agent is killed', async () => {
    const agent = await theirs('s1')
    const doomed = await theirs('s2', { join: `127.0.0.1:${agent.port}` })
    const one = await ours('n1', { seeds: [{ host: '127.0.0.1', port: agent.port }] })
    await eventually(() => expect(one.live()).toEqual(['n1', 's1', 's2']))
    await doomed.kill()
    // Alone, either would wait for the longest suspicion.
    const { maxMs } = suspicionTerms(3, { ...defaultSwimSettings, ...SERF_LOCAL })
    expect(await timeOf(() => expect(stateOf(one, 's2')).toBe('dead'))).toBeLessThan(maxMs)
    await eventually(async () => expect(await agent.status('s2')).toBe('failed'))
  })

  test('a node that comes back elsewhere is alive there again', async () => {
    const agent = await theirs('s1')
    const seeds = [{ host: '127.0.0.1', port: agent.port }]
    const one = await ours('n1', { seeds, epoch: 1 })
    await eventually(async () => expect(await agent.status('n1')).toBe('alive'))
    await one.gossip.leave()
    await one.gossip.close()
    await eventually(async () => expect(await agent.status('n1')).toBe('left'))
    const back = await ours('n1', { seeds, epoch: 2 })
    await eventually(async () => {
      const { addr, status } = (await agent.members()).find(({ name }) => name === 'n1') ?? {}
      expect([addr, status]).toEqual([`127.0.0.1:${back.seed.port}`, 'alive'])
    })
  })

  test('bare memberlist versions are refused by serf, and told here', async () => {
    const agent = await theirs('s1')
    const settings = { versions: [1, 5, 2, 0, 0, 0], speaksSerf: false } as const
    const one = await ours('n1', { seeds: [{ host: '127.0.0.1', port: agent.port }], settings })
    await eventually(() => expect(one.logs.map(({ event }) => event)).toContain('gossip_merge_refused'))
    expect(one.live()).toEqual(['n1'])
  })
})
