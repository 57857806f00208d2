// Opens the app that a command is about: loads and validates it, and reports every problem.

import { packageInfo } from '../admin/package.ts'
import type { App, LoadResult, Problem } from '../app/load.ts'
import { CommandFailure, EXIT_USAGE } from './exit.ts'
import { plural } from './output.ts'

export interface AppOptions {
  config?: readonly string[]
  set?: readonly string[]
}

/** The app, or its problems. Starts nothing and writes nothing. */
export async function loadAppAt(path: string, { config = [], set = [] }: AppOptions): Promise<LoadResult> {
  // A command that loads no app starts faster without the loader and the Lua engine.
  const [{ loadApp }, { compileProblem }, { moduleNames }, { clusterReader }] = await Promise.all([
    import('../app/load.ts'),
    import('../lua/check.ts'),
    import('../../lua-stdlib/names.ts'),
    import('../../cluster/config/machine.ts'),
  ])
  const cluster = clusterReader({ packageVersion: packageInfo().version })
  return loadApp({ path, configFiles: config, set, env: process.env, cluster, moduleNames, compile: compileProblem() })
}

/** @throws CommandFailure with every problem of the app, exit code 2 */
export async function requireApp(path: string, options: AppOptions): Promise<App> {
  const result = await loadAppAt(path, options)
  if (result.ok) return result.app
  throw new CommandFailure(EXIT_USAGE, await problemText(result.problems), { isReport: true })
}

/** Each problem on a line of its own. */
export async function problemLines(problems: Extract<LoadResult, { ok: false }>['problems']): Promise<string[]> {
  const { formatProblem } = await import('../app/problems.ts')
  return problems.map((problem) => formatProblem(problem))
}

/** Each problem on a line of its own, and how many there are. */
export async function problemText(problems: Extract<LoadResult, { ok: false }>['problems']): Promise<string> {
  const count = `${plural(problems.length, 'problem')}; nothing was started`
  return [...(await problemLines(problems)), count].join('\n')
}

/** What is to be warned of, each on a line of its own. */
export async function warningLines(warnings: readonly Problem[]): Promise<string[]> {
  const { formatProblem } = await import('../app/problems.ts')
  return warnings.map((warning) => `warning: ${formatProblem(warning)}`)
}

/** Collects the values of an option that may be repeated. */
export const repeated = (value: string, previous: readonly string[] | undefined): string[] => [
  ...(previous ?? []),
  value,
]
