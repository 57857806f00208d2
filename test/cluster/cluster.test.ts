// The cluster of one node as it starts and stops, with real sockets on the loopback. cluster.md §1.1.

import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import prom from 'prom-client'
import { afterAll, afterEach, expect, test } from 'vitest'
import { Cluster } from '../../cluster/cluster.ts'
import { clusterReader } from '../../cluster/config/machine.ts'
import type { ClusterSettings } from '../../cluster/config.ts'
import { clusterMetrics } from '../../cluster/metrics.ts'
import { systemEnv } from '../../runtime/driver.ts'
import { eventually } from '../tools/eventually.ts'

let cluster: Cluster | undefined

const dataDir = mkdtempSync(join(tmpdir(), 'moonmesh-cluster-'))

afterEach(() => cluster?.close())
afterAll(() => rmSync(dataDir, { recursive: true, force: true }))

async function start(): Promise<Cluster> {
  const raw = {
    enabled: true,
    membership: { bind_addr: '127.0.0.1', bind_port: 0 },
    internode: { bind_addr: '127.0.0.1' },
  }
  const context = { nodeName: 'node-1', dataDir, resolvePath: (_: unknown, text: string) => text }
  const { settings } = clusterReader({ packageVersion: '1.0.0' }).read(raw, context)
  cluster = await Cluster.start({
    settings: settings as ClusterSettings,
    epoch: 1,
    packageVersion: '1.0.0',
    env: systemEnv,
    handlers: { member: () => {}, group: () => {}, epochRaised: () => {}, failed: () => {}, log: () => {} },
  })
  return cluster
}

const PEERS = { up: () => {}, down: () => {}, message: () => undefined }

const listeners = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap').length

function answers(address: string): Promise<boolean> {
  const [host, port] = address.split(':') as [string, string]
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

test('a cluster that is closed while it connects leaves nothing open', async () => {
  const before = listeners()
  const closing = await start()
  const connecting = closing.connect(PEERS).then(
    () => 'connected',
    (error: { kind: string }) => error.kind,
  )
  await closing.close()
  expect(await connecting).toBe('Canceled')
  await eventually(() => expect(listeners()).toBe(before))
})

test('one that is closed does not connect, and a connected one stops answering when it is closed', async () => {
  const closing = await start()
  await closing.connect(PEERS)
  const address = closing.meshAddress as string
  expect(await answers(address)).toBe(true)
  await closing.close()
  expect(await answers(address)).toBe(false)
  await expect(closing.connect(PEERS)).rejects.toMatchObject({ kind: 'Canceled' })
})

test('changes that spread by gossip are counted by their age when they were taken over (cluster.md §11)', async () => {
  const open = await start()
  await open.connect(PEERS)
  // What the services call with their hybrid clock minus the change's stamp; a clock that is behind makes no negative age.
  for (const ageMs of [250, 40_000, -5]) open.fabric?.converged?.(ageMs)
  const registry = new prom.Registry()
  for (const metric of clusterMetrics(open)) registry.registerMetric(metric as unknown as prom.Metric)
  const text = await registry.metrics()
  expect(text).toContain('gossip_convergence_seconds_bucket{le="0.25"} 2')
  expect(text).toContain('gossip_convergence_seconds_bucket{le="60"} 3')
  expect(text).toContain('gossip_probe_seconds_count{result="failed"} 0')
})
