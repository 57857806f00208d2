// Apps in folders of their own, written for one test and removed after it.

import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { ClusterReader, ClusterSection } from '../../../runtime/app/cluster-section.ts'
import { type App, type Entry, type LoadOptions, type LoadResult, loadApp } from '../../../runtime/app/load.ts'
import { formatProblem } from '../../../runtime/app/problems.ts'

export type Files = Readonly<Record<string, string | Uint8Array>>

/** Any chunk is right, except one that holds the word `wrong`: on that line. */
function compileStub(_chunkName: string, source: string): { line: number; text: string } | undefined {
  const line = source.split('\n').findIndex((each) => each.includes('wrong'))
  return line < 0 ? undefined : { line: line + 1, text: "unexpected symbol near 'wrong'" }
}

/** Takes any `cluster` section for right, and passes it on as it stands. */
export const anyCluster: ClusterReader = {
  textKeys: new Set(['id', 'name']),
  read: (raw) => ({ settings: { enabled: false, ...(raw as object) } as ClusterSection, problems: [], warnings: [] }),
}

export const rules = { moduleNames: new Set(['time', 'json', 'process']), compile: compileStub, cluster: anyCluster }

export function appFolder(files: Files): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'moonmesh-app-')))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), content)
  }
  return dir
}

export type Options = Partial<Omit<LoadOptions, 'path'>>

/** Loads `path` (default: app.yaml) below a folder with these files; `configFiles` are relative to it. */
export async function loadFiles(
  files: Files,
  options: Options = {},
  path = 'app.yaml',
): Promise<LoadResult & { dir: string }> {
  const dir = appFolder(files)
  const configFiles = (options.configFiles ?? []).map((file) => join(dir, file))
  return { ...(await loadApp({ ...rules, ...options, configFiles, path: join(dir, path) })), dir }
}

/** The problems as people read them, the folder's own path left out. */
export async function problemsOf(files: Files | string, options: Options = {}, path = 'app.yaml'): Promise<string[]> {
  const result = await loadFiles(typeof files === 'string' ? { 'app.yaml': files } : files, options, path)
  return shown(result, result.dir)
}

export function shown(result: LoadResult, dir: string): string[] {
  if (result.ok) return []
  return result.problems.map((problem) => formatProblem(problem, dir).replaceAll(`${dir}/`, ''))
}

/** The app of files that are right. */
export async function appOf(files: Files | string, options: Options = {}, path = 'app.yaml'): Promise<App> {
  const result = await loadFiles(typeof files === 'string' ? { 'app.yaml': files } : files, options, path)
  if (!result.ok) throw new Error(shown(result, result.dir).join('\n'))
  return result.app
}

/** One entry of an app whose only file is this. */
export async function entryOf<K extends Entry['kind']>(text: string, kind: K): Promise<Extract<Entry, { kind: K }>> {
  const entry = (await appOf(text)).entries.find((each) => each.kind === kind)
  if (entry === undefined) throw new Error(`no ${kind}`)
  return entry as Extract<Entry, { kind: K }>
}

/** A text without the mark `»` in it, and `line:column` of what stood behind the mark. */
export function marked(text: string): { text: string; at: string } {
  const before = text.slice(0, text.indexOf('»')).split('\n')
  return { text: text.replace('»', ''), at: `${before.length}:${(before.at(-1) ?? '').length + 1}` }
}

export const ids = (app: App): string[] => app.entries.map(({ id }) => id)
