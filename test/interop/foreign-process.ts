// Programs of others as peers: started on free ports of the loopback, ended by their own process id.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

/** Whether a program answers; says aloud that tests are skipped when it does not. */
export function isInstalled(program: string, args: readonly string[], what: string): boolean {
  const { status } = spawnSync(program, args, { stdio: 'ignore' })
  if (status === 0) return true
  console.warn(`SKIPPED: ${what} (${program} is not installed)`)
  return false
}

/** A port of the loopback that is free for TCP and UDP at the moment. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer()
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const { port } = server.address() as { port: number }
    const udp = createSocket('udp4')
    const isFree = await new Promise<boolean>((done) => {
      udp.once('error', () => done(false))
      udp.bind(port, '127.0.0.1', () => done(true))
    })
    udp.close()
    await new Promise((done) => server.close(done))
    if (isFree) return port
  }
}

/** A child and what it has said so far. */
export class ForeignProcess {
  readonly #child: ChildProcess
  readonly #exit: Promise<number | null>
  output = ''
  hasEnded = false

  constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    }
    this.#exit = new Promise((done) => {
      this.#child.once('error', (error) => {
        this.output += `${error.message}\n`
        done(null)
      })
      this.#child.once('close', done)
    })
    void this.#exit.then(() => {
      this.hasEnded = true
    })
  }

  lines(): string[] {
    return this.output.split('\n')
  }

  write(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (!this.hasEnded) this.#child.kill(signal)
    await this.#exit
  }
}
