// `runtime run APP --nodes N`: a cluster for development. Each node is a program of its own on this machine, started and stopped by this
// one; what they write comes out here, with the node's name in front.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { CommandFailure, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK } from '../exit.ts'
import { Output } from '../output.ts'
import { Signals } from '../signals.ts'

interface ClusterPlan {
  readonly count: number
  /** The command line of one node, but for what tells it from the others. */
  readonly args: readonly string[]
  /** The app says what the nodes' key is. */
  readonly hasKey: boolean
  /** The form of their logs. */
  readonly format: 'pretty' | 'json'
  readonly color: boolean
  readonly json: boolean
}

interface Addresses {
  readonly gossip?: string
  readonly admin?: string
}

interface End {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Of the names, one for each node in turn. */
const COLORS = [36, 33, 32, 35, 34, 31]
export const NODES_MAX = 16

/** Until every node has ended. Resolves to the exit code. */
export async function runNodes(plan: ClusterPlan): Promise<number> {
  const startedMs = performance.now()
  const output = Output.standard({ json: plan.json, color: plan.color })
  const signals = new Signals()
  const nodes: DevelopmentNode[] = []
  const key = plan.hasKey ? undefined : randomBytes(32).toString('base64')
  const startOne = (join: string | undefined): DevelopmentNode => {
    const node = new DevelopmentNode(plan, { number: nodes.length + 1, join, key })
    nodes.push(node)
    return node
  }
  const passOn = (signal: NodeJS.Signals): void => {
    for (const node of nodes) node.signal(signal)
  }
  let ending: { exitCode: number } | undefined
  let exitCode = EXIT_FAILED
  const stopped = signals.first.then((stop) => {
    ending = stop
    passOn(stop.signal)
  })
  void signals.second.then((stop) => passOn(stop.signal))
  try {
    const first = startOne(undefined)
    const { gossip } = await first.ready
    // The first one's address is what the others begin with; later any of them will do.
    while (nodes.length < plan.count && ending === undefined) startOne(gossip)
    const all = await Promise.all(nodes.map(async (node) => ({ node: node.name, addresses: await node.ready })))
    tellReady(output, all, performance.now() - startedMs)
    const ends = await Promise.all(
      nodes.map((node) => node.ended.then((end) => tellEnd(node, end, ending !== undefined))),
    )
    exitCode = ending?.exitCode ?? (ends.every((end) => end.code === EXIT_OK) ? EXIT_OK : EXIT_FAILED)
    return exitCode
  } catch (error) {
    // A signal during the start ends nodes before they are ready, which is no failure.
    passOn('SIGTERM')
    await Promise.all(nodes.map((node) => node.ended))
    if (ending === undefined) throw error
    exitCode = ending.exitCode
    return exitCode
  } finally {
    signals.finish(exitCode)
    await Promise.race([stopped, Promise.resolve()])
  }
}

function tellReady(output: Output, nodes: { node: string; addresses: Addresses }[], tookMs: number): void {
  const took = Math.round(tookMs)
  if (output.isJson) {
    output.jsonLine({ event: 'ready', nodes, took_ms: took })
    return
  }
  for (const { node, addresses } of nodes) {
    const admin = addresses.admin === undefined ? '' : ` · admin http://${addresses.admin}`
    output.line(`node ${node} is ready · gossip ${addresses.gossip}${admin}`)
  }
  output.line(
    `${nodes.length === 1 ? '1 node is' : `${nodes.length} nodes are`} ready · ${took} ms · Ctrl-C stops them all`,
  )
}

function tellEnd(node: DevelopmentNode, end: End, isAsked: boolean): End {
  if (!isAsked)
    node.say(`has ended ${end.signal === null ? `with exit code ${end.code}` : `by ${end.signal}`}; the others go on`)
  return end
}

/** So many found the group together; whoever is beyond them is added. */
const FOUNDERS_MAX = 9

/** One node of the cluster, as a program. */
class DevelopmentNode {
  readonly name: string
  readonly #plan: ClusterPlan
  readonly #child: ChildProcess
  readonly #label: string
  /** Rejects when it ends before. */
  readonly ready: Promise<Addresses>
  readonly ended: Promise<End>

  constructor(plan: ClusterPlan, own: { number: number; join: string | undefined; key: string | undefined }) {
    this.#plan = plan
    this.name = `node-${own.number}`
    const color = COLORS[(own.number - 1) % COLORS.length]
    this.#label = plan.color ? `\u001b[${color}m${this.name}\u001b[39m` : this.name
    const { env } = process
    this.#child = spawn(process.execPath, [process.argv[1] as string, ...plan.args, ...settingsOf(this.name, own)], {
      env: {
        RUNTIME_CLUSTER__RAFT__BOOTSTRAP_EXPECT: String(
          own.number > FOUNDERS_MAX ? 0 : Math.min(plan.count, FOUNDERS_MAX),
        ),
        ...env,
        ...(own.key === undefined ? {} : { RUNTIME_CLUSTER__MEMBERSHIP__SECRET_KEY: own.key }),
        ...(plan.color ? { FORCE_COLOR: '1' } : {}),
      },
      // A group of its own: Ctrl-C reaches it through here, once. The channel tells it when this program dies.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    this.#child.channel?.unref()
    this.ended = new Promise((resolve) => {
      this.#child.once('error', () => resolve({ code: EXIT_FAILED, signal: null }))
      this.#child.once('close', (code, signal) => resolve({ code, signal }))
    })
    this.ready = this.#untilReady()
    // Nobody waits for a node that was never due.
    this.ready.catch(() => {})
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** To whoever watches. */
  say(text: string): void {
    const line =
      this.#plan.format === 'json'
        ? JSON.stringify({ level: 'warn', node: this.name, msg: text })
        : `${this.#label} | ${text}`
    process.stderr.write(`${line}\n`)
  }

  /** That it is ready stands on one of the streams, by the form of its log. */
  #untilReady(): Promise<Addresses> {
    return new Promise((resolve, reject) => {
      const read = (from: Readable | null, to: NodeJS.WritableStream): void => {
        createInterface({ input: from as Readable }).on('line', (line) => {
          const record = recordIn(line)
          if (record?.['event'] === 'ready') resolve(record['addresses'] as Addresses)
          else if (this.#plan.format === 'pretty' && typeof record?.['text'] === 'string')
            for (const row of record['text'].split('\n')) to.write(this.#labelled(row))
          else to.write(this.#labelled(line))
        })
      }
      read(this.#child.stdout, process.stdout)
      read(this.#child.stderr, process.stderr)
      void this.ended.then(({ code }) => {
        const text = `${this.name} ended before it was ready; its reason is above`
        reject(new CommandFailure(code === null || code === EXIT_INTERRUPTED ? EXIT_FAILED : code, text))
      })
    })
  }

  /** A record stays one: the name goes into it. */
  #labelled(line: string): string {
    if (this.#plan.format !== 'json' || !line.startsWith('{')) return `${this.#label} | ${line}\n`
    return line.includes('"node":') ? `${line}\n` : `{"node":${JSON.stringify(this.name)},${line.slice(1)}\n`
  }
}

/** Free ports on the loopback, and a place in the same cluster. */
function settingsOf(name: string, { number, join }: { number: number; join: string | undefined }): string[] {
  const settings = [
    `node.name=${name}`,
    'cluster.enabled=true',
    'cluster.membership.bind_addr=127.0.0.1',
    'cluster.membership.bind_port=0',
    `cluster.membership.join_addrs=${join ?? ''}`,
    ...(number === 1 ? [] : ['admin.http=127.0.0.1:0']),
  ]
  return settings.flatMap((setting) => ['--set', setting])
}

function recordIn(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return undefined
  }
}
