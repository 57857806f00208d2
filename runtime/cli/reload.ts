// `runtime run --watch`: edits of the app come into force in the running node, or are told as wrong while the old version goes on.

import { isDeepStrictEqual } from 'node:util'
import type { App, Entry, LoadResult } from '../app/load.ts'
import { messageOf } from '../base/errors.ts'
import type { Reloaded } from '../node.ts'
import { problemLines } from './app.ts'
import { plural } from './output.ts'
import { FileWatch } from './watch.ts'

interface ReloaderOptions {
  app: App
  configFiles: readonly string[]
  load(): Promise<LoadResult>
  apply(before: readonly Entry[], after: readonly Entry[]): Promise<Reloaded>
  /** In a form for people, and for programs. */
  tell(text: string, record: Record<string, unknown>): void
  complain(text: string, record: Record<string, unknown>): void
}

export class Reloader {
  readonly #options: ReloaderOptions
  readonly #watch: FileWatch
  #app: App
  /** What was told last was wrong: that it no longer is, is told as well. */
  #isWrong = false

  constructor(options: ReloaderOptions) {
    this.#options = options
    this.#app = options.app
    this.#watch = new FileWatch(options.app.dir, this.#others(options.app), () => this.#reload())
  }

  start(): Promise<void> {
    return this.#watch.start()
  }

  close(): void {
    this.#watch.close()
  }

  /** Files may lie anywhere; inside the folder they are found anyway. */
  #others({ entries }: App): string[] {
    const files = entries.flatMap((entry) => [entry.file, 'sourceFile' in entry ? (entry.sourceFile ?? '') : ''])
    return [...new Set([...files, ...this.#options.configFiles])].filter((file) => file !== '')
  }

  async #reload(): Promise<void> {
    const { load, apply, tell, complain } = this.#options
    const beganMs = performance.now()
    try {
      const result = await load()
      if (!result.ok) {
        this.#isWrong = true
        const lines = [...(await problemLines(result.problems)), GOES_ON]
        const problems = result.problems.map(({ file, line, column, path, message }) => ({
          file,
          line,
          column,
          path,
          message,
        }))
        return complain(lines.join('\n'), { event: 'reload_failed', problems })
      }
      const before = this.#app
      const reloaded = await apply(before.entries, result.app.entries)
      this.#app = result.app
      this.#watch.others = this.#others(result.app)
      const settings = changedSettings(before, result.app)
      if (settings.length > 0) {
        const text = `settings changed: ${settings.join(', ')}; they hold from the next start on`
        complain(text, { event: 'settings_changed', settings })
      }
      const text = textOf(reloaded)
      const took = Math.round(performance.now() - beganMs)
      const news = text === '' && this.#isWrong ? UNDONE : text
      this.#isWrong = false
      if (news !== '') tell(`reloaded: ${news} · ${took} ms`, { event: 'reloaded', ...reloaded, took_ms: took })
      for (const { id, error } of reloaded.failed) {
        complain(`service ${id} does not run with its new code: ${error}`, {
          event: 'restart_failed',
          service: id,
          error,
        })
      }
    } catch (error) {
      this.#isWrong = true
      const message = messageOf(error)
      complain(`${message}\n${GOES_ON}`, { event: 'reload_failed', problems: [{ message }] })
    }
  }
}

const UNDONE = 'nothing had to change, what runs is current again'
const GOES_ON = 'nothing was reloaded; the old version goes on'

function changedSettings(before: App, after: App): string[] {
  const [old, now] = [before.settings, after.settings] as unknown as Record<string, unknown>[]
  return Object.keys(old ?? {}).filter(
    (section) => section !== 'warnings' && !isDeepStrictEqual(old?.[section], now?.[section]),
  )
}

function textOf({ added, changed, removed, restarted, told }: Reloaded): string {
  const part = (ids: readonly string[], what: string): string[] =>
    ids.length === 0 ? [] : [`${what} ${ids.join(', ')}`]
  return [
    ...part(changed, 'changed'),
    ...part(added, 'added'),
    ...part(removed, 'removed'),
    ...part(restarted, `${plural(restarted.length, 'service')} started again:`),
    ...part(told, `${plural(told.length, 'service')} told of new code:`),
  ].join(' · ')
}
