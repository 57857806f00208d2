// `runtime check APP`: validates and compiles everything, starts nothing.

import type { Command } from 'commander'
import type { LoadResult, Problem } from '../../app/load.ts'
import { type AppOptions, loadAppAt, problemText, repeated, warningLines } from '../app.ts'
import { EXIT_OK, EXIT_USAGE } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

export function addCheck(command: Command, end: (exitCode: number) => void): void {
  command
    .description('validate and compile an app, and list its entries by kind; starts nothing')
    .argument('<app>', 'the app file, or a directory with _index.yaml files')
    .option('--config <file>', 'a further file of settings; may be repeated', repeated)
    .option('--set <path=value>', 'one setting, e.g. node.name=node-2; may be repeated', repeated)
    .option('--load', 'also run every chunk, without its method, in a thread of its own that is thrown away')
    .action(async (path: string, options: CheckOptions) => end(await check(path, options)))
}

interface CheckOptions extends CommonOptions, AppOptions {
  load?: boolean
}

async function check(path: string, options: CheckOptions): Promise<number> {
  const output = Output.standard(options)
  const { result, warnings } = await resultOf(path, options)
  const entries = (result.ok ? result.app.entries : result.entries).map(({ id, kind }) => ({ id, kind }))
  if (output.isJson) {
    const problems = result.ok ? [] : result.problems.map(shape)
    output.json({ ok: result.ok, entries, problems, warnings: warnings.map(shape) })
  } else if (result.ok) {
    for (const line of await warningLines(warnings)) output.error(line)
    listByKind(entries, output)
    output.line(output.green(`${path}: ${entries.length === 1 ? '1 entry' : `${entries.length} entries`}, no problems`))
  } else {
    output.error(await problemText(result.problems))
  }
  return result.ok ? EXIT_OK : EXIT_USAGE
}

/** The app as it was read; with `--load`, what its chunks do as they load counts as if it stood in the files. */
async function resultOf(
  path: string,
  options: CheckOptions,
): Promise<{ result: LoadResult; warnings: readonly Problem[] }> {
  const result = await loadAppAt(path, options)
  if (!result.ok) return { result, warnings: [] }
  const { app } = result
  const { warnings } = app.settings
  if (options.load !== true) return { result, warnings }
  const { checkLoading } = await import('../load-check.ts')
  const loading = await checkLoading(app)
  if (loading.problems.length === 0) return { result, warnings: [...warnings, ...loading.warnings] }
  return { result: { ok: false, problems: loading.problems, entries: app.entries }, warnings: [] }
}

const shape = ({ file, line, column, path, message }: Problem): Problem => ({ file, line, column, path, message })

function listByKind(entries: readonly { id: string; kind: string }[], output: Output): void {
  const kinds = [...new Set(entries.map(({ kind }) => kind))].sort()
  for (const kind of kinds) {
    const ids = entries.filter((entry) => entry.kind === kind).map(({ id }) => id)
    output.line(`${output.bold(kind)} ${output.dim(`(${ids.length})`)}`)
    for (const id of ids.sort()) output.line(`  ${id}`)
  }
}
