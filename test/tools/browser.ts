// A real browser, where there is one: Chromium without a window, spoken to over two pipes in its DevTools protocol.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

/** Undefined: there is none on this machine. */
export const BROWSER = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
)

interface Reply {
  readonly id?: number
  readonly result?: Record<string, unknown>
  readonly error?: { readonly message: string }
}

export class Browser {
  readonly #child: ChildProcess
  readonly #profile = mkdtempSync(join(tmpdir(), 'mm-browser-'))
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  #count = 0

  constructor() {
    const args = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--no-first-run',
      '--window-size=1200,1600',
      '--remote-debugging-pipe',
    ]
    this.#child = spawn(BROWSER ?? '', [...args, `--user-data-dir=${this.#profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    })
    let rest = ''
    const replies = this.#child.stdio[4] as Readable
    replies.setEncoding('utf8').on('data', (text: string) => {
      const messages = (rest + text).split('\0')
      rest = messages.pop() ?? ''
      for (const message of messages) {
        const reply = JSON.parse(message) as Reply
        if (reply.id !== undefined) this.#waiting.get(reply.id)?.(reply)
      }
    })
  }

  #say(method: string, params: object, sessionId?: string): Promise<Record<string, unknown>> {
    const id = ++this.#count
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        this.#waiting.delete(id)
        if (error === undefined) resolve(result ?? {})
        else reject(new Error(`${method}: ${error.message}`))
      })
      const orders = this.#child.stdio[3] as Writable
      orders.write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    })
  }

  /** Opens a page. @returns what an expression gives there, as JSON could say it */
  async open(url: string): Promise<(expression: string) => Promise<unknown>> {
    const { targetId } = await this.#say('Target.createTarget', { url })
    const { sessionId } = await this.#say('Target.attachToTarget', { targetId, flatten: true })
    return async (expression) => {
      const params = { expression, returnByValue: true }
      const { result } = await this.#say('Runtime.evaluate', params, sessionId as string)
      return (result as { value?: unknown }).value
    }
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('close', resolve))
    this.#child.kill('SIGKILL')
    await ended
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
  }
}
