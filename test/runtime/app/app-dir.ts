// An app in a folder of its own, written for one test.

import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type LoadOptions, type LoadResult, loadApp } from '../../../runtime/app/load.ts'
import { formatProblem } from '../../../runtime/app/problems.ts'
import { compileProblem } from '../../../runtime/lua/check.ts'

const rules = { moduleNames: new Set(['time', 'json', 'process']), compile: compileProblem() }

export type Files = Readonly<Record<string, string | Uint8Array>>

/** Writes the files below a fresh folder, which goes with the test. */
export function appDir(files: Files): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'moonmesh-app-')))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), content)
  }
  return dir
}

export async function load(
  files: Files,
  options: Partial<LoadOptions> & { at?: string } = {},
): Promise<LoadResult & { dir: string }> {
  const dir = appDir(files)
  const configFiles = (options.configFiles ?? []).map((file) => join(dir, file))
  return { ...(await loadApp({ ...rules, ...options, configFiles, path: join(dir, options.at ?? 'app.yaml') })), dir }
}

/** The problems as people see them, from inside the folder. */
export async function problems(files: Files | string, options?: Parameters<typeof load>[1]): Promise<string[]> {
  const result = await load(typeof files === 'string' ? { 'app.yaml': files } : files, options)
  if (result.ok) return []
  return result.problems.map((problem) => formatProblem(problem, result.dir).replaceAll(`${result.dir}/`, ''))
}

/** The app of files that are right. */
export async function app(files: Files | string, options?: Parameters<typeof load>[1]) {
  const result = await load(typeof files === 'string' ? { 'app.yaml': files } : files, options)
  if (!result.ok) throw new Error(result.problems.map((problem) => formatProblem(problem)).join('\n'))
  return { ...result.app, root: result.dir }
}
