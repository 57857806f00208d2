// A bare node of Go's memberlist as a peer: the program in memberlist/, built once.

import { spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { eventually } from '../tools/eventually.ts'
import { ForeignProcess, freePort, isInstalled } from './foreign-process.ts'

const source = join(dirname(fileURLToPath(import.meta.url)), 'memberlist')
const WHAT = 'tests against memberlist'
const DOWNLOAD_MS = 120_000

/**
 * The built program; undefined, said aloud, when there is no Go or no way to the module.
 * @throws when it does not compile
 */
export function buildMemberlist(): string | undefined {
  if (!isInstalled('go', ['version'], WHAT)) return undefined
  const download = spawnSync('go', ['mod', 'download'], { cwd: source, encoding: 'utf8', timeout: DOWNLOAD_MS })
  if (download.status !== 0) {
    console.warn(`SKIPPED: ${WHAT} (no module: ${download.stderr.trim().slice(0, 300)})`)
    return undefined
  }
  const program = join(mkdtempSync(join(tmpdir(), 'moonmesh-memberlist-')), 'node')
  const build = spawnSync('go', ['build', '-o', program, '.'], { cwd: source, encoding: 'utf8' })
  if (build.status !== 0) throw new Error(`memberlist/main.go does not compile:\n${build.stderr}`)
  return program
}

export interface MemberlistOptions {
  readonly key?: Uint8Array
  readonly label?: string
  readonly protocol?: number
  readonly compression?: boolean
  /** Default: a free port of 127.0.0.1. */
  readonly bind?: { readonly host: string; readonly port: number }
  readonly join?: string
}

export class MemberlistNode {
  readonly name: string
  readonly address: { readonly host: string; readonly port: number }
  readonly #process: ForeignProcess

  private constructor(name: string, address: { host: string; port: number }, process: ForeignProcess) {
    this.name = name
    this.address = address
    this.#process = process
  }

  /** Resolves once it runs. @throws with its output when it does not */
  static async start(program: string, name: string, options: MemberlistOptions = {}): Promise<MemberlistNode> {
    const { host, port } = options.bind ?? { host: '127.0.0.1', port: await freePort() }
    const args = [`-name=${name}`, `-host=${host}`, `-port=${port}`, '-probe=200ms']
    args.push(`-compress=${options.compression ?? true}`)
    if (options.key !== undefined) args.push(`-key=${Buffer.from(options.key).toString('hex')}`)
    if (options.label !== undefined) args.push(`-label=${options.label}`)
    if (options.protocol !== undefined) args.push(`-protocol=${options.protocol}`)
    if (options.join !== undefined) args.push(`-join=${options.join}`)
    const node = new MemberlistNode(name, { host, port }, new ForeignProcess(program, args))
    await eventually(() => {
      if (node.#process.hasEnded) throw new Error(`memberlist ended: ${node.output}`)
      return node.lines().includes('ready')
    })
    return node
  }

  get output(): string {
    return this.#process.output
  }

  /** What it has said: events and answers, mixed with its log. */
  lines(): string[] {
    return this.#process.lines()
  }

  /** Whether it has noticed by itself that a node is gone, as opposed to being told that it left. */
  hasSuspected(name: string): boolean {
    return this.lines().some(
      (line) => line.includes(`Suspect ${name} has failed`) || line.includes(`Marking ${name} as failed`),
    )
  }

  /** Names and metas of the live nodes it knows. */
  async members(): Promise<Map<string, string>> {
    const before = this.#answers().length
    this.#process.write('members')
    await eventually(() => this.#answers().length > before)
    const pairs = (this.#answers()[before] as string).split(' ').slice(1)
    return new Map(pairs.map((pair) => pair.split('=') as [string, string]))
  }

  /** @returns what it says about the attempt */
  async join(port: number): Promise<string> {
    const before = this.#joins().length
    this.#process.write(`join 127.0.0.1:${port}`)
    await eventually(() => this.#joins().length > before)
    return this.#joins()[before] as string
  }

  /** A friendly end. */
  async leave(): Promise<void> {
    this.#process.write('leave')
    await eventually(() => this.#process.hasEnded)
  }

  async kill(): Promise<void> {
    await this.#process.end('SIGKILL')
  }

  #answers(): string[] {
    return this.lines().filter((line) => line.startsWith('members '))
  }

  #joins(): string[] {
    return this.lines().filter((line) => line.startsWith('joined '))
  }
}
