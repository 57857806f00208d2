// A group of members in processes of their own (raft-node.mjs), which tests kill and start again.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { eventually } from './eventually.ts'

const script = join(dirname(fileURLToPath(import.meta.url)), 'raft-node.mjs')

type Answer = { readonly ok: boolean; readonly [key: string]: unknown }

/** One run of one member. */
export class Member {
  readonly name: string
  readonly gossip: string
  readonly self: string
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #asked = 0
  isRunning = true

  private constructor(name: string, child: ChildProcess, ended: Promise<void>, greeting: Answer) {
    this.name = name
    this.gossip = String(greeting['gossip'])
    this.self = String(greeting['self'])
    this.#child = child
    this.ended = ended.then(() => {
      this.isRunning = false
      for (const answer of this.#waiting.values()) answer({ ok: false, kind: 'Killed' })
      this.#waiting.clear()
    })
  }

  static async start(name: string, dataDir: string, settings: object): Promise<Member> {
    const child = spawn(process.execPath, [script, name, dataDir, JSON.stringify(settings)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    let errors = ''
    child.stderr.on('data', (bytes) => {
      errors += bytes
    })
    // A killed process may still be written to.
    child.stdin.on('error', () => {})
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
    const lines = createInterface({ input: child.stdout })
    let member: Member | undefined
    const greeting = await new Promise<Answer>((resolve, reject) => {
      lines.on('line', (line) => {
        const said = JSON.parse(line) as Answer
        if (member === undefined) return resolve(said)
        const id = said['id'] as number
        member.#waiting.get(id)?.(said)
        member.#waiting.delete(id)
      })
      void ended.then(() => reject(new Error(`${name} ended before it listened: ${errors}`)))
    })
    member = new Member(name, child, ended, greeting)
    return member
  }

  /** Never rejects: a member that is gone answers that it was killed. */
  ask(what: string, args: object = {}): Promise<Answer> {
    if (!this.isRunning) return Promise.resolve({ ok: false, kind: 'Killed' })
    const id = ++this.#asked
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve)
      this.#child.stdin?.write(`${JSON.stringify({ id, do: what, ...args })}\n`)
    })
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }
}

export class RaftGroup {
  readonly members = new Map<string, Member>()
  readonly #dir = mkdtempSync(join(tmpdir(), 'moonmesh-group-'))
  readonly #settings: object

  constructor(settings: object) {
    this.#settings = settings
  }

  async start(name: string): Promise<Member> {
    const member = await Member.start(name, join(this.#dir, name), this.#settings)
    const others = [...this.members.values()].filter((other) => other.isRunning && other.name !== name)
    this.members.set(name, member)
    for (const other of others) await member.ask('join', { to: other.gossip })
    return member
  }

  /** Starts them all and begins a group of them. */
  async form(names: readonly string[], formation = '000102030405060708090a0b0c0d0e0f'): Promise<void> {
    for (const name of names) await this.start(name)
    const voters = [...this.members.values()].map(({ self }) => self)
    for (const member of this.members.values()) await member.ask('form', { formation, voters })
    await this.leader()
  }

  /** A leader that may decide. */
  leader(timeoutMs = 20_000): Promise<Member> {
    const find = async (): Promise<Member> => {
      for (const member of this.members.values()) if ((await member.ask('status'))['isReady'] === true) return member
      throw new Error('there is no leader')
    }
    return eventually(find, { timeoutMs })
  }

  running(): Member[] {
    return [...this.members.values()].filter((member) => member.isRunning)
  }

  async close(): Promise<void> {
    await Promise.all(this.running().map((member) => member.kill()))
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
