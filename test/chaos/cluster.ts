// The nodes of a run, with everything that belongs to them: their app, settings, keys, certificates, disks and namespaces.

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClusterStatusBody, MemberRow } from '../../runtime/admin/shapes.ts'
import { ask } from '../../runtime/cli/client.ts'
import { Disk } from './disk.ts'
import type { History } from './history.ts'
import { type Network, openNetwork } from './network.ts'
import { ChaosNode, type LogRecord, type Run } from './node.ts'
import type { FaultKind, Plan } from './plan.ts'

const FAKETIME = ['/usr/lib', '/usr/lib64', '/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu']
export const GOSSIP_PORT = 7946
export const MESH_PORT = 7950

/** Faster than what is set where nobody says otherwise, but slow enough for two cores that five nodes share. */
const SETTINGS = {
  cluster: {
    enabled: true,
    id: 'chaos',
    session_ttl: '8s',
    membership: {
      bind_port: GOSSIP_PORT,
      probe_interval: '1s',
      probe_timeout: '500ms',
      gossip_interval: '100ms',
      push_pull_interval: '2s',
      reconnect_interval: '2s',
      suspicion_max_mult: 3,
    },
    internode: { bind_port: MESH_PORT, keepalive_interval: '1s', keepalive_timeout: '3s' },
    raft: {
      bootstrap_stability: '1s',
      heartbeat_timeout: '2s',
      election_timeout: '2s',
      commit_timeout: '200ms',
      leader_probe_interval: '1s',
      evict_grace: '12s',
      reconcile_debounce: '500ms',
      max_standbys: 1,
      snapshot_threshold: 1000,
      snapshot_interval: '5s',
      trailing_logs: 500,
    },
  },
  admin: { http: 'off' },
  logger: { level: 'info', format: 'json' },
}

interface ClusterOptions {
  readonly plan: Plan
  /** The root of the package. */
  readonly root: string
  /** What is run: `runtime/cli/main.js` of a built product. */
  readonly main: string
  readonly dir: string
  readonly history: History
  readonly network: Network
  readonly preload: string | undefined
  readonly faketime: string | undefined
}

/** What this machine lets us do. */
export interface Means {
  readonly network: Network
  readonly preload: string | undefined
  readonly faketime: string | undefined
  readonly without: ReadonlySet<FaultKind>
  readonly limits: readonly string[]
}

export function meansOf(root: string, dir: string, nodes: number): Means {
  const network = openNetwork(nodes + 1)
  const limits = [...network.limits]
  const without = new Set<FaultKind>()
  const miss = (why: string, ...kinds: readonly FaultKind[]): void => {
    if (why !== '') limits.push(why)
    for (const kind of kinds) without.add(kind)
  }
  if (!network.canCut)
    miss('', 'halves', 'isolate', 'deaf', 'mute', 'bridge', 'pair', 'flicker', 'move', 'garbage', 'intruder')
  if (!network.canSlow) miss('', 'slow-link')
  if (!network.canLose) miss('', 'loss')
  const preload = join(dir, 'preload.so')
  const built = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', preload, join(root, 'test/chaos/preload.c'), '-ldl'])
  const hasPreload = built.status === 0
  if (!hasPreload)
    miss(
      'no C compiler: what is not synced cannot be taken away, and syncs cannot be slowed',
      'power',
      'power-all',
      'slow-disk',
    )
  const faketime = FAKETIME.flatMap((lib) => [
    join(lib, 'faketime/libfaketimeMT.so.1'),
    join(lib, 'faketime/libfaketime.so.1'),
  ]).find((path) => existsSync(path))
  if (faketime === undefined) miss('libfaketime is not installed: no clock jumps', 'clock')
  const trial = new Disk(join(dir, 'trial'), '')
  if (!trial.isOwn) miss('no file systems may be mounted: no disk is full', 'full-disk')
  trial.close()
  return { network, preload: hasPreload ? preload : undefined, faketime, without, limits }
}

export class Cluster {
  readonly nodes: readonly ChaosNode[]
  readonly #options: ClusterOptions
  readonly #keys: string[] = [newKey()]
  readonly #clockNodes: ReadonlySet<number>

  constructor(options: ClusterOptions) {
    this.#options = options
    const { plan, dir, root } = options
    cpSync(join(root, 'test/chaos/app'), join(dir, 'app'), { recursive: true })
    writeFileSync(join(dir, 'settings.yaml'), JSON.stringify({ ...SETTINGS, cluster: this.#settings() }))
    if (plan.security === 'certificates') {
      this.cli('cert', 'ca', '--out', join(dir, 'certs'))
    }
    const clocks = plan.steps.flatMap(({ faults }) =>
      faults.flatMap((each) => (each.kind === 'clock' ? [each.who] : [])),
    )
    this.#clockNodes = new Set(options.faketime === undefined ? [] : clocks)
    this.nodes = Array.from({ length: plan.nodes }, (_, index) => this.#node(index))
    this.writeKeys([this.key])
    if (plan.security === 'certificates') this.issueCertificates()
  }

  get names(): readonly string[] {
    return this.nodes.map(({ name }) => name)
  }

  get isKeyed(): boolean {
    return this.#options.plan.security !== 'plain'
  }

  start(): void {
    for (const node of this.nodes) node.start()
  }

  /** The settings by which another program may try to get in. @param how what is wrong with it */
  intruder(
    name: string,
    how: 'name' | 'key' | 'certificate',
  ): { main: string; args: string[]; within: readonly string[] } {
    const { dir, plan, network, main } = this.#options
    const index = plan.nodes
    const own = join(dir, 'intruder')
    rmSync(own, { recursive: true, force: true })
    mkdirSync(own, { recursive: true })
    const set = this.#set(index, name, join(own, 'data'))
    if (plan.security !== 'plain') {
      writeFileSync(join(own, 'gossip.key'), `${how === 'key' ? newKey() : this.#keys.at(-1)}\n`, { mode: 0o600 })
      set.push(`cluster.membership.secret_file=${join(own, 'gossip.key')}`)
    }
    if (plan.security === 'certificates') {
      const ca = how === 'certificate' ? join(own, 'ca') : join(dir, 'certs')
      if (how === 'certificate') this.cli('cert', 'ca', '--out', ca)
      this.cli('cert', 'issue', name, '--ca', ca, '--out', own)
      set.push(`cluster.tls.ca=${join(ca, 'ca.pem')}`)
      set.push(`cluster.tls.cert=${join(own, `${name}.pem`)}`, `cluster.tls.key=${join(own, `${name}-key.pem`)}`)
    }
    const args = ['run', join(dir, 'app/app.yaml'), '--config', join(dir, 'settings.yaml')]
    return { main, args: [...args, ...set.flatMap((each) => ['--set', each])], within: network.within(index) }
  }

  newKey(): string {
    this.#keys.push(newKey())
    return this.#keys.at(-1) as string
  }

  get key(): string {
    return this.#keys.at(-1) as string
  }

  /** Of all nodes; those that run read them when they are told. */
  writeKeys(keys: readonly string[]): void {
    for (const { name } of this.nodes) writeFileSync(this.#keyFile(name), `${keys.join('\n')}\n`, { mode: 0o600 })
  }

  issueCertificates(): void {
    const { dir } = this.#options
    const fresh = join(dir, 'fresh')
    mkdirSync(join(dir, 'certs'), { recursive: true })
    rmSync(fresh, { recursive: true, force: true })
    for (const { name } of this.nodes) this.cli('cert', 'issue', name, '--ca', join(dir, 'certs'), '--out', fresh)
    for (const file of readdirSync(fresh)) cpSync(join(fresh, file), join(dir, 'certs', file))
  }

  /** Runs a command of the product. @throws when it fails */
  cli(...args: readonly string[]): string {
    const { status, stdout, stderr } = spawnSync(process.execPath, [this.#options.main, ...args], {
      encoding: 'utf8',
      cwd: this.#options.dir,
    })
    if (status !== 0) throw new Error(`runtime ${args.join(' ')}: ${stderr}`)
    return stdout
  }

  /** Who leads, as one of the nodes that are ready says. */
  async leader(): Promise<number | undefined> {
    for (const node of this.nodes) {
      if (!node.isReady) continue
      const rows = await ask<MemberRow[]>(node.socket, '/v1/members').catch(() => [])
      const leader = rows.find(({ role, state }) => role === 'leader' && state === 'alive')
      const found = this.nodes.find(({ name }) => name === leader?.name)
      if (found?.isReady === true) return found.index
    }
    return undefined
  }

  /** What keeps the cluster from being as it should be: nothing when all nodes are ready, know each other, and enough of them vote. */
  async missing(): Promise<string[]> {
    const { plan } = this.#options
    const problems = await Promise.all(
      this.nodes.map(async (node): Promise<string[]> => {
        if (!node.isReady) return [`${node.name} is not ready`]
        try {
          const [rows, { checks }] = await Promise.all([
            ask<MemberRow[]>(node.socket, '/v1/members'),
            ask<ClusterStatusBody>(node.socket, '/v1/raft'),
          ])
          const alive = rows.filter(({ name, state }) => state === 'alive' && this.names.includes(name))
          const voters = alive.filter(({ role }) => role === 'leader' || role === 'voter').length
          const failing = checks.filter(({ ok }) => !ok)
          return [
            ...(alive.length === this.nodes.length
              ? []
              : [`${node.name} knows ${alive.map(({ name }) => name).join(' ')}`]),
            ...(voters === plan.voters ? [] : [`${node.name} knows ${voters} voters of ${plan.voters}`]),
            ...failing.map(({ name, detail }) => `${node.name}: ${name}: ${detail}`),
          ]
        } catch (error) {
          return [`${node.name}: ${error instanceof Error ? error.message : String(error)}`]
        }
      }),
    )
    return problems.flat()
  }

  /** @returns what is still missing after the time, empty as soon as nothing is */
  async whole(withinMs: number): Promise<string[]> {
    const deadlineMs = performance.now() + withinMs
    for (;;) {
      const missing = await this.missing()
      if (missing.length === 0 || performance.now() > deadlineMs) return missing
      await new Promise((next) => setTimeout(next, 500))
    }
  }

  async close(): Promise<void> {
    for (const node of this.nodes) {
      node.signal('SIGCONT')
      if (node.isUp) await node.kill()
      node.options.disk.close()
    }
  }

  #settings(): unknown {
    const { plan } = this.#options
    const { cluster } = SETTINGS
    return {
      ...cluster,
      ...(plan.security === 'plain' ? { allow_insecure: true } : {}),
      raft: { ...cluster.raft, max_voters: plan.voters },
    }
  }

  #set(index: number, name: string, dataDir: string): string[] {
    const { plan, network, dir } = this.#options
    const servers = plan.nodes - plan.clients
    const others = Array.from({ length: plan.nodes }, (_, i) => i).filter((i) => i !== index)
    return [
      `node.name=${name}`,
      `node.data_dir=${dataDir}`,
      `cluster.membership.bind_addr=${network.address(index)}`,
      `cluster.membership.join_addrs=${others.map((i) => `${network.address(i)}:${GOSSIP_PORT}`).join(',')}`,
      ...(index >= servers && index < plan.nodes ? ['cluster.raft.role=client'] : []),
      ...(index < servers ? [`cluster.raft.bootstrap_expect=${servers}`] : []),
      ...(plan.security === 'plain' || index >= plan.nodes
        ? []
        : [`cluster.membership.secret_file=${this.#keyFile(name)}`]),
      ...(plan.security === 'certificates' && index < plan.nodes
        ? [
            `cluster.tls.ca=${join(dir, 'certs/ca.pem')}`,
            `cluster.tls.cert=${join(dir, `certs/${name}.pem`)}`,
            `cluster.tls.key=${join(dir, `certs/${name}-key.pem`)}`,
          ]
        : []),
    ]
  }

  #keyFile(name: string): string {
    return join(this.#options.dir, `${name}.key`)
  }

  clockFile(index: number): string {
    return join(this.#options.dir, `n${index + 1}.clock`)
  }

  delayFile(index: number): string {
    return join(this.#options.dir, `n${index + 1}.delay`)
  }

  #node(index: number): ChaosNode {
    const { dir, network, main, history, preload, faketime } = this.#options
    const name = `n${index + 1}`
    const notes = join(dir, `${name}.synced`)
    const disk = new Disk(join(dir, 'd', name), notes)
    const env: Record<string, string> = {}
    const libraries = preload === undefined ? [] : [preload]
    if (preload !== undefined) {
      env['CHAOS_SYNC_NOTES'] = notes
      env['CHAOS_SYNC_DELAY'] = this.delayFile(index)
    }
    if (faketime !== undefined && this.#clockNodes.has(index)) {
      libraries.push(faketime)
      writeFileSync(this.clockFile(index), '+0\n')
      Object.assign(env, {
        FAKETIME_TIMESTAMP_FILE: this.clockFile(index),
        FAKETIME_CACHE_DURATION: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
        DONT_FAKE_MONOTONIC: '1',
      })
    }
    if (libraries.length > 0) env['LD_PRELOAD'] = libraries.join(':')
    return new ChaosNode({
      index,
      name,
      dir,
      disk,
      main,
      within: () => network.within(index),
      args: () => [
        join(dir, 'app/app.yaml'),
        '--config',
        join(dir, 'settings.yaml'),
        ...this.#set(index, name, disk.dir).flatMap((each) => ['--set', each]),
      ],
      env,
      onRemark: (run, remark, atMs) => history.remarks.push({ ...remark, run, node: index, atMs }),
      onLog: (run, record) => watchLog(history, run, name, record),
      onSurprise: (run, how) => history.violations.push(`${name} ended in its run ${run.number}: ${how}`),
    })
  }
}

/** Lines that no fault excuses, and those that say that a session is in doubt. */
function watchLog(history: History, run: Run, name: string, { event, text, atMs, level }: LogRecord): void {
  if (event === 'session_suspended' || event === 'session_lost') history.doubts.push({ node: run.node, atMs: atMs })
  if (event === 'fsm_halted') history.violations.push(`${name}: ${text}`)
  if (level === 'raw' && /assert|TypeError|RangeError|ReferenceError|Unhandled/i.test(text)) {
    history.violations.push(`${name} says: ${text}`)
  }
  if (level === 'error' && !text.includes('told to die')) history.errors.push({ node: run.node, atMs, text })
}

const newKey = (): string => randomBytes(32).toString('base64')
