// Runs the built command as a person would: in a directory of its own, as a program of its own, with what it printed kept.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { eventually } from './eventually.ts'

const MAIN = resolve(import.meta.dirname, '../../dist/runtime/cli/main.js')
const EXIT_MS_MAX = 30_000

export interface CliResult {
  /** Null when a signal ended it. */
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

interface StartOptions {
  cwd?: string
  env?: Record<string, string>
  /** Leaves `admin.http` as it is; else it is off, so that tests do not meet on a port. */
  withAdmin?: boolean
  /** The command that it runs under, as `nsenter … -n`; it becomes the program. */
  within?: readonly string[]
}

export interface RunOptions extends StartOptions {
  /** Standard input; it ends after this. */
  input?: string
}

/** One test's directory and every program that it started there. */
export class Cli {
  readonly dir = mkdtempSync(join(tmpdir(), 'mm-'))
  readonly #programs: Program[] = []

  constructor() {
    if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: run \`npm run build\` first`)
  }

  /** Files of an app, by name. */
  write(files: Record<string, string>): void {
    for (const [name, text] of Object.entries(files)) {
      const path = join(this.dir, name)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, text)
    }
  }

  start(args: readonly string[], options: StartOptions = {}): Program {
    const { PATH = '', HOME = '', TMPDIR } = process.env
    const env: Record<string, string> = {
      PATH,
      HOME,
      ...(TMPDIR === undefined ? {} : { TMPDIR }),
      ...(options.withAdmin === true ? {} : { RUNTIME_ADMIN__HTTP: 'off' }),
      ...options.env,
    }
    const [command = '', ...rest] = [...(options.within ?? []), process.execPath, MAIN, ...args]
    const child = spawn(command, rest, { cwd: options.cwd ?? this.dir, env })
    const program = new Program(child, args)
    this.#programs.push(program)
    return program
  }

  /** Starts it and waits for its end. */
  run(args: readonly string[], options: RunOptions = {}): Promise<CliResult> {
    const program = this.start(args, options)
    program.endInput(options.input ?? '')
    return program.exit()
  }

  /** Kills what still runs and removes the directory. */
  async close(): Promise<void> {
    for (const program of this.#programs) await program.kill()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

export class Program {
  readonly #child: ChildProcess
  readonly #args: readonly string[]
  readonly #exited: Promise<CliResult>
  #stdout = ''
  #stderr = ''
  #isGone = false

  constructor(child: ChildProcess, args: readonly string[]) {
    this.#child = child
    this.#args = args
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    // A program that does not read its input may be gone before it is written.
    child.stdin?.on('error', () => {})
    this.#exited = new Promise((done, fail) => {
      child.once('error', fail)
      child.once('close', (code, signal) => {
        this.#isGone = true
        done({ code, signal, stdout: this.#stdout, stderr: this.#stderr })
      })
    })
  }

  get pid(): number {
    return this.#child.pid ?? -1
  }

  get stdout(): string {
    return this.#stdout
  }

  get stderr(): string {
    return this.#stderr
  }

  /** Waits until it printed something: to standard output, or to standard error. */
  async until(wanted: string | RegExp): Promise<void> {
    await eventually(
      () => {
        const isIn = (text: string): boolean => (typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text))
        if (isIn(this.#stdout) || isIn(this.#stderr)) return
        throw new Error(`${this.#what()} did not print ${String(wanted)}\n${this.#transcript()}`)
      },
      { timeoutMs: EXIT_MS_MAX },
    )
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  write(text: string): void {
    this.#child.stdin?.write(text)
  }

  endInput(text = ''): void {
    this.#child.stdin?.end(text)
  }

  /** As `| head` does when it has seen enough. */
  stopReading(): void {
    this.#child.stdout?.destroy()
  }

  /** @throws when it is still running after half a minute */
  async exit(): Promise<CliResult> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_done, fail) => {
      timer = setTimeout(() => fail(new Error(`${this.#what()} did not end\n${this.#transcript()}`)), EXIT_MS_MAX)
    })
    try {
      return await Promise.race([this.#exited, late])
    } finally {
      clearTimeout(timer)
    }
  }

  async kill(): Promise<void> {
    if (!this.#isGone) this.#child.kill('SIGKILL')
    await this.#exited.catch(() => {})
  }

  #what(): string {
    return `runtime ${this.#args.join(' ')}`
  }

  #transcript(): string {
    return `--- stdout\n${this.#stdout}\n--- stderr\n${this.#stderr}`
  }
}

/** What the ready line of a node says, once it stands in its JSON log. */
export function addressesOf(program: Program): { gossip?: string; mesh?: string; admin?: string } {
  const ready = logRecords(program.stderr).find((record) => record['event'] === 'ready')
  return (ready?.['addresses'] ?? {}) as { gossip?: string; mesh?: string; admin?: string }
}

/** The records of a JSON log, without a last line that is still being written. */
export function logRecords(stderr: string): Record<string, unknown>[] {
  const lines = stderr.split('\n').slice(0, -1)
  return lines.flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : []))
}
