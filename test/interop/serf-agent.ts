// Debian's serf as a peer.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { SwimSettings } from '../../cluster/swim/core/settings.ts'
import { eventually } from '../tools/eventually.ts'
import { ForeignProcess, freePort } from './foreign-process.ts'

const run = promisify(execFile)

/** What `-profile=local` makes of serf's gossip, as our settings. */
export const SERF_LOCAL: Partial<SwimSettings> = {
  gossipIntervalMs: 100,
  probeIntervalMs: 1000,
  probeTimeoutMs: 200,
  pushPullIntervalMs: 15_000,
  indirectChecks: 1,
  retransmitMult: 2,
  suspicionMult: 3,
  suspicionMaxMult: 6,
  gossipToTheDeadMs: 15_000,
}

interface SerfMember {
  readonly name: string
  readonly addr: string
  readonly status: 'alive' | 'leaving' | 'left' | 'failed'
  readonly tags: Record<string, string>
}

export interface SerfOptions {
  readonly key?: Uint8Array
  readonly tags?: Record<string, string>
  /** Address of somebody to join at start. */
  readonly join?: string
  readonly args?: readonly string[]
}

export class SerfAgent {
  readonly name: string
  readonly port: number
  readonly #rpc: string
  readonly #process: ForeignProcess

  private constructor(name: string, port: number, rpc: string, process: ForeignProcess) {
    this.name = name
    this.port = port
    this.#rpc = rpc
    this.#process = process
  }

  /** Resolves once it answers. @throws with its output when it does not */
  static async start(name: string, options: SerfOptions = {}): Promise<SerfAgent> {
    const [port, rpcPort] = [await freePort(), await freePort()]
    const rpc = `127.0.0.1:${rpcPort}`
    const args = ['agent', `-node=${name}`, `-bind=127.0.0.1:${port}`, `-rpc-addr=${rpc}`, '-profile=local']
    args.push('-log-level=debug')
    for (const [key, value] of Object.entries(options.tags ?? {})) args.push('-tag', `${key}=${value}`)
    if (options.key !== undefined) args.push(`-encrypt=${Buffer.from(options.key).toString('base64')}`)
    if (options.join !== undefined) args.push(`-join=${options.join}`)
    args.push(...(options.args ?? []))
    const agent = new SerfAgent(name, port, rpc, new ForeignProcess('serf', args))
    try {
      await eventually(
        async () => {
          if (agent.#process.hasEnded) throw new Error(`serf ended: ${agent.output}`)
          await agent.members()
        },
        { what: 'serf' },
      )
    } catch (error) {
      await agent.kill()
      throw error
    }
    return agent
  }

  get output(): string {
    return this.#process.output
  }

  async members(): Promise<SerfMember[]> {
    const { stdout } = await run('serf', ['members', `-rpc-addr=${this.#rpc}`, '-format=json'])
    return (JSON.parse(stdout) as { members: SerfMember[] }).members
  }

  async status(name: string): Promise<string | undefined> {
    return (await this.members()).find((member) => member.name === name)?.status
  }

  async join(port: number): Promise<void> {
    await run('serf', ['join', `-rpc-addr=${this.#rpc}`, `127.0.0.1:${port}`])
  }

  /** A friendly end. */
  async leave(): Promise<void> {
    await run('serf', ['leave', `-rpc-addr=${this.#rpc}`])
    await this.#process.end('SIGKILL')
  }

  async kill(): Promise<void> {
    await this.#process.end('SIGKILL')
  }
}
