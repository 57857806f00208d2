// Notices edits to the files of an app: the Lua and YAML below its folder, and what its entries name elsewhere. By looking, not by the system's
// notices: those miss files on network and container volumes, and what editors do when they save differs.

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

const LOOK_MS = 300
/** A look takes at most one part in so many of the time. */
const SHARE = 20
const FILES_MAX = 20_000

export class FileWatch {
  readonly #dir: string
  #others: readonly string[]
  readonly #changed: () => Promise<void>
  #timer: NodeJS.Timeout | undefined
  #isClosed = false
  /** Of the files as they were told of, and as the last look found them. */
  #known: string | undefined
  #last: string | undefined

  /** @param others files outside `dir`   @param changed called once the files are no longer being written; the next look waits for it */
  constructor(dir: string, others: readonly string[], changed: () => Promise<void>) {
    this.#dir = dir
    this.#others = others
    this.#changed = changed
  }

  /** Resolves when changes from now on are noticed. */
  async start(): Promise<void> {
    this.#known = await this.#signature()
    this.#last = this.#known
    this.#later(LOOK_MS)
  }

  set others(files: readonly string[]) {
    this.#others = files
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  #later(delayMs: number): void {
    if (this.#isClosed) return
    this.#timer = setTimeout(() => void this.#look(), delayMs)
    this.#timer.unref()
  }

  async #look(): Promise<void> {
    const beganMs = performance.now()
    const now = await this.#signature()
    const tookMs = performance.now() - beganMs
    const isStill = now === this.#last
    this.#last = now
    // Twice the same: nobody is in the middle of writing.
    if (isStill && now !== this.#known && !this.#isClosed) {
      this.#known = now
      await this.#changed()
    }
    this.#later(Math.max(LOOK_MS, tookMs * SHARE))
  }

  async #signature(): Promise<string> {
    const found: string[] = []
    await this.#collect(this.#dir, found)
    const files = [...new Set([...found, ...this.#others])].sort()
    const parts = await Promise.all(
      files.map(async (file) => {
        const facts = await stat(file).catch(() => undefined)
        return facts === undefined ? '' : `${file} ${facts.mtimeMs} ${facts.size} ${facts.ino}`
      }),
    )
    return parts.join('\n')
  }

  async #collect(dir: string, found: string[]): Promise<void> {
    const entries = await readdir(dir, { withFileTypes: true }).catch(() => [])
    for (const entry of entries) {
      if (found.length >= FILES_MAX) return
      if (entry.name.startsWith('.') || entry.name === 'node_modules') continue
      if (entry.isDirectory()) await this.#collect(join(dir, entry.name), found)
      else if (/\.(lua|ya?ml)$/.test(entry.name)) found.push(join(dir, entry.name))
    }
  }
}
