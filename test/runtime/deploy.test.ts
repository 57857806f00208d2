// The files of docs/deploy are held to the product: their settings are valid, their ports and paths belong together.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { moduleNames } from '../../lua-stdlib/names.ts'
import { type App, loadApp } from '../../runtime/app/load.ts'
import { compileProblem } from '../../runtime/lua/check.ts'
import { clusterOfThisMachine } from '../../runtime/node.ts'

const FOLDER = resolve(import.meta.dirname, '../../docs/deploy')
const read = (name: string): string => readFileSync(join(FOLDER, name), 'utf8')
const dir = mkdtempSync(join(tmpdir(), 'mm-deploy-'))
const KEY = Buffer.alloc(32, 7).toString('base64')
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** The settings that a node gets from an app of nothing, these files and variables. */
async function settingsOf(configFiles: string[], env: Record<string, string>): Promise<App['settings']> {
  const path = join(dir, 'app.yaml')
  writeFileSync(path, 'version: "1.0"\n')
  const rules = { moduleNames, compile: compileProblem(), cluster: clusterOfThisMachine() }
  const loaded = await loadApp({ ...rules, path, configFiles, env })
  if (!loaded.ok) throw new Error(loaded.problems.map(({ path: key, message }) => `${key}: ${message}`).join('\n'))
  return loaded.app.settings
}

const secondsOf = (duration: unknown): number => Number(/^(\d+)s$/.exec(String(duration))?.[1])

describe('kubernetes.yaml', () => {
  // biome-ignore lint/suspicious/noExplicitAny: documents of another project's schema
  const documents = parseAllDocuments(read('kubernetes.yaml')).map((document) => document.toJS() as any)
  const ofKind = (kind: string) => documents.find((document) => document.kind === kind)
  const pod = ofKind('StatefulSet').spec.template.spec
  const [container] = pod.containers
  const config = ofKind('ConfigMap').data['cluster.yaml']

  test('has documents without errors, all of one app', () => {
    expect(parseAllDocuments(read('kubernetes.yaml')).flatMap(({ errors }) => errors)).toEqual([])
    for (const { metadata } of documents) expect(metadata.labels).toEqual({ 'app.kubernetes.io/name': 'shop' })
    const selector = { 'app.kubernetes.io/name': 'shop' }
    expect(ofKind('StatefulSet').spec.selector.matchLabels).toEqual(selector)
    expect(ofKind('StatefulSet').spec.template.metadata.labels).toEqual(selector)
    expect(ofKind('Service').spec.selector).toEqual(selector)
    expect(ofKind('PodDisruptionBudget').spec.selector.matchLabels).toEqual(selector)
    expect(ofKind('StatefulSet').spec.serviceName).toBe(ofKind('Service').metadata.name)
  })

  test('configures nodes that are valid and reachable at the ports it names', async () => {
    const file = join(dir, 'cluster.yaml')
    const { cluster } = parse(config)
    expect(cluster.membership.secret_file).toBe(`${container.volumeMounts[2].mountPath}/gossip.key`)
    writeFileSync(join(dir, 'gossip.key'), `${KEY}\n`)
    writeFileSync(file, config.replace(cluster.membership.secret_file, 'gossip.key'))
    const values: Record<string, string> = {
      'metadata.name': 'shop-0',
      'status.podIP': '10.0.0.7',
      'spec.nodeName': 'm1',
    }
    const env = Object.fromEntries(
      container.env.map(({ name, valueFrom }: { name: string; valueFrom: { fieldRef: { fieldPath: string } } }) => [
        name,
        values[valueFrom.fieldRef.fieldPath] as string,
      ]),
    )
    const settings = await settingsOf([file], env)
    expect(settings.node.name).toBe('shop-0')
    const ports = Object.fromEntries(
      container.ports.map(({ name, containerPort }: { name: string; containerPort: number }) => [name, containerPort]),
    )
    expect(settings.admin.http).toBe(`0.0.0.0:${ports['admin']}`)
    expect(cluster.internode.bind_port).toBe(ports['mesh'])
    expect(cluster.membership.join_addrs).toBe(`${ofKind('Service').metadata.name}:${ports['gossip']}`)
    expect(cluster.raft.bootstrap_expect).toBe(ofKind('StatefulSet').spec.replicas)
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(secondsOf(parse(config).shutdown.timeout))
  })

  test('lets the nodes and the probes through, and one pod at a time be away', () => {
    const rules = ofKind('NetworkPolicy').spec.ingress as { ports: { port: number; protocol: string }[] }[]
    const open = rules.flatMap(({ ports }) => ports.map(({ port, protocol }) => `${port}/${protocol}`))
    const needed = container.ports.map(
      ({ containerPort, protocol }: { containerPort: number; protocol: string }) => `${containerPort}/${protocol}`,
    )
    expect(open.sort()).toEqual(needed.sort())
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      expect(['/livez', '/readyz']).toContain(container[probe].httpGet.path)
      expect(container[probe].httpGet.port).toBe('admin')
    }
    expect(ofKind('PodDisruptionBudget').spec.maxUnavailable).toBe(1)
    expect(ofKind('StatefulSet').spec.podManagementPolicy).toBe('Parallel')
    expect(ofKind('Service').spec.publishNotReadyAddresses).toBe(true)
  })
})

describe('Dockerfile', () => {
  const dockerfile = read('Dockerfile')

  test('runs the command of the package, as a user that owns the data directory', () => {
    const { bin } = JSON.parse(readFileSync(join(FOLDER, '../../package.json'), 'utf8'))
    expect(dockerfile).toContain(`ENTRYPOINT ["node", "node_modules/moonmesh/${bin.runtime}"]`)
    const [, data] = /RUNTIME_NODE__DATA_DIR=(\S+)/.exec(dockerfile) ?? []
    expect(dockerfile).toContain(`-o node -g node -m 0700 ${data}`)
    expect(dockerfile).toContain(`VOLUME ${data}`)
    expect(dockerfile.indexOf('USER node')).toBeGreaterThan(dockerfile.indexOf('install -d'))
  })
})

describe('moonmesh.service', () => {
  const unit = read('moonmesh.service')

  test('starts the command with settings that are valid, and waits longer for its end than it takes', async () => {
    const { bin } = JSON.parse(readFileSync(join(FOLDER, '../../package.json'), 'utf8'))
    expect(unit).toContain(`ExecStart=/usr/bin/node node_modules/moonmesh/${bin.runtime} run app.yaml`)
    writeFileSync(join(dir, 'gossip.key'), `${KEY}\n`)
    const variables = [...unit.matchAll(/^Environment=(RUNTIME_\w+)=(.*)$/gm)].map(([, name, value]) => [
      name as string,
      (value as string).replace('%S', dir).replace('%d', dir),
    ])
    expect(variables).toHaveLength(2)
    const settings = await settingsOf([], Object.fromEntries(variables))
    const stopSeconds = Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1])
    expect(stopSeconds * 1000).toBeGreaterThan(settings.shutdown.timeoutMs)
  })

  const verify = spawnSync('systemd-analyze', ['--version']).error === undefined
  test.skipIf(!verify)(`is a valid unit${verify ? '' : ' (skipped: systemd-analyze is not installed)'}`, () => {
    // The programs and the user that it names are not on this machine.
    const file = join(dir, 'shop.service')
    writeFileSync(
      file,
      unit.replace('/usr/bin/node', process.execPath).replace(/^(?:User|Group|WorkingDirectory)=.*\n/gm, ''),
    )
    const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' })
    expect(stderr.split('\n').filter((line) => line.includes('shop.service'))).toEqual([])
  })
})
