import { beforeEach, describe, expect, test } from 'vitest'
import { Affiliations } from '../../../cluster/raft/affiliation.ts'
import { MemoryFiles } from '../../../cluster/storage/memory-files.ts'
import { FabricNet, type FakeFabric } from '../../tools/fabric.ts'

const PATH = '/data/_sys/formation'
const [F, G] = ['f'.repeat(16), 'a'.repeat(16)] as [string, string]

let net: FabricNet
let files: MemoryFiles
beforeEach(() => {
  net = new FabricNet()
  files = new MemoryFiles()
})

function voter(name: string, formation: string): FakeFabric {
  const node = net.join(name)
  for (const [key, value] of [
    ['raft_status', 'in'],
    ['raft_role', 'voter'],
    ['formation', formation],
  ] as const) {
    node.setTag(key, value)
  }
  return node
}

/** A client as it starts anew. */
async function client(): Promise<{ fabric: FakeFabric; held: Affiliations }> {
  const fabric = net.nodes.get('client') ?? net.join('client')
  const held = await Affiliations.open({ fabric, path: PATH, files })
  held.follow(undefined)
  return { fabric, held }
}

describe('the group that a node holds to (cluster.md §5.4)', () => {
  test('is the first one that it met, also after it was started again', async () => {
    for (const name of ['a', 'b', 'c']) voter(name, F)
    const first = await client()
    expect(first.fabric.formation).toBe(F)
    await first.held.close()
    for (const name of ['a', 'b', 'c']) net.crash(name)
    for (const name of ['x', 'y', 'z']) voter(name, G)
    const again = await client()
    expect(again.held.formation).toBe(F)
    expect(again.fabric.formation).toBe(F)
    expect(again.held.health()).toMatchObject({ ok: false, detail: expect.stringContaining('x, y, z are in another') })
    expect(again.fabric.logs).toContain(`formation_conflict ${F} x y z`)
  })

  test('is another one once the nodes of the first are in that', async () => {
    for (const name of ['a', 'b', 'c']) voter(name, F)
    const { fabric, held } = await client()
    for (const name of ['a', 'b', 'c']) net.crash(name)
    voter('a', G)
    expect(fabric.formation).toBe(F)
    voter('b', G)
    net.join('d')
    expect(fabric.formation).toBe(G)
    await held.close()
    expect((await client()).held.formation).toBe(G)
  })

  test('is not kept where there is no directory for it', async () => {
    voter('a', F)
    const fabric = net.join('client')
    const held = await Affiliations.open({ fabric, path: undefined, files })
    held.follow(undefined)
    expect(held.formation).toBe(F)
    await held.close()
    expect((await Affiliations.open({ fabric, path: undefined, files })).formation).toBeUndefined()
  })
})
