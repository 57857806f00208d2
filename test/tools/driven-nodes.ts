// Real nodes whose processes do what they are told: lines of JSON go in on standard input, answers come out (test/chaos/app/driver.lua).

import { join } from 'node:path'
import type { MemberRow } from '../../runtime/admin/shapes.ts'
import { ask as askAdmin } from '../../runtime/cli/client.ts'
import type { Order } from '../chaos/node.ts'
import type { Cli, Program } from './cli.ts'
import { eventually } from './eventually.ts'

/** Times that end a test soon. */
const SETTINGS = [
  'cluster.enabled=true',
  'cluster.membership.bind_addr=127.0.0.1',
  'cluster.membership.bind_port=0',
  'cluster.membership.gossip_interval=50ms',
  'cluster.raft.bootstrap_stability=1s',
  'cluster.raft.heartbeat_timeout=1s',
  'cluster.raft.election_timeout=1s',
  'cluster.raft.commit_timeout=100ms',
  'cluster.raft.leader_probe_interval=500ms',
  'logger.format=json',
  'node.data_dir=data',
]

/** What takes seconds on a quiet machine may take longer where others work as well. */
export const PATIENCE = { timeoutMs: 150_000 }

interface DrivenOptions {
  readonly app: string
  /** The entry that reads standard input. */
  readonly driver: string
  /** For all of them. */
  readonly set: readonly string[]
}

/** By name. `Reply` is what a client says of an order. */
export class DrivenNodes<Reply> extends Map<string, Program> {
  readonly #cli: Cli
  readonly #options: DrivenOptions
  #asked = 0

  constructor(cli: Cli, options: DrivenOptions) {
    super()
    this.#cli = cli
    this.#options = options
  }

  /** Starts a node that joins those that run, and waits until its clients answer. */
  async start(name: string, ...more: readonly string[]): Promise<void> {
    const others = [...this.keys()].filter((other) => other !== name)
    const seeds = await Promise.all(others.map((other) => this.#gossipOf(other)))
    const joins = seeds.length === 0 ? [] : [`cluster.membership.join_addrs=${seeds.join(',')}`]
    const { app, driver, set } = this.#options
    const settings = [...SETTINGS, ...set, `node.name=${name}`, ...joins, ...more].flatMap((each) => ['--set', each])
    this.set(name, this.#cli.start(['run', app, ...settings, '--exec', driver]))
    await this.ask(name, { op: 'ping' })
  }

  /** Without a word to anybody. */
  async kill(name: string): Promise<void> {
    await this.get(name)?.kill()
    this.delete(name)
  }

  /** Of its admin interface. */
  socketOf(name: string): string {
    return join(this.#cli.dir, 'data', name, 'admin.sock')
  }

  async #gossipOf(name: string): Promise<string> {
    const rows = await askAdmin<MemberRow[]>(this.socketOf(name), '/v1/members')
    return rows.find(({ local }) => local)?.addr ?? ''
  }

  /** All that the clients of a node have said, without having been asked, too. */
  said(node: string): (Reply & { readonly id?: number })[] {
    const lines = this.get(node)?.stdout.split('\n').slice(0, -1) ?? []
    return lines.map((line) => JSON.parse(line))
  }

  /** @returns the `id` of the answer to come */
  tell(node: string, order: Order, client: string): number {
    const id = ++this.#asked
    this.get(node)?.write(`${JSON.stringify({ ...order, c: client, id })}\n`)
    return id
  }

  /** What the process `client` of a node says to an order. */
  ask(node: string, order: Order, client = 'one'): Promise<Reply> {
    const id = this.tell(node, order, client)
    return eventually(() => {
      const found = this.said(node).find((each) => each.id === id)
      if (found !== undefined) return found
      throw new Error(`${node} does not answer ${JSON.stringify(order)}\n${this.get(node)?.stderr}`)
    }, PATIENCE)
  }
}
