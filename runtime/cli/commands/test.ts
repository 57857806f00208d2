// `runtime test APP`: runs the app's tests, its function.lua entries whose meta.type is `test`.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { App } from '../../app/load.ts'
import { parseDurationMs } from '../../base/duration.ts'
import { messageOf } from '../../base/errors.ts'
import type { Node } from '../../node.ts'
import type { Outcome } from '../../services.ts'
import { type AppOptions, repeated, requireApp } from '../app.ts'
import { CommandFailure, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, failureText } from '../exit.ts'
import { type CommonOptions, Output, plural } from '../output.ts'
import { Signals } from '../signals.ts'

interface TestOptions extends CommonOptions, AppOptions {
  suite?: string[]
  filter?: string
  timeout: string
}

interface TestEntry {
  id: string
  suite: string | null
  order: number
}

interface TestResult {
  id: string
  suite: string | null
  ok: boolean
  error: string | null
  ms: number
}

export function addTest(command: Command, end: (exitCode: number) => void): void {
  command
    .description('run the tests of an app: its function.lua entries with meta.type "test"')
    .argument('<app>', 'the app file, or a directory with _index.yaml files')
    .option('--suite <name>', 'only tests with this meta.suite; may be repeated', repeated)
    .option('--filter <text>', 'only tests whose id contains this text')
    .option('--timeout <duration>', 'for each test', '30s')
    .option('--config <file>', 'a further file of settings; may be repeated', repeated)
    .option('--set <path=value>', 'one setting, e.g. node.name=node-2; may be repeated', repeated)
    .addHelpText(
      'after',
      '\nA test fails when it raises, returns false, or returns nil and an error. Tests run one after the other, by meta.order and ' +
        'then by id,\non a node of their own that keeps its data in a temporary directory.',
    )
    .action(async (path: string, options: TestOptions) => end(await test(path, options)))
}

async function test(path: string, options: TestOptions): Promise<number> {
  const output = Output.standard(options)
  const timeoutMs = parseDurationMs(options.timeout)
  if (timeoutMs === undefined || timeoutMs <= 0) {
    throw new CommandFailure(EXIT_USAGE, `--timeout ${options.timeout}: not a duration such as 30s or 1m30s`)
  }
  // Its own data directory: the app itself may be running beside its tests.
  const dataDir = await mkdtemp(join(tmpdir(), 'moonmesh-test-'))
  try {
    const app = await requireApp(path, { ...options, set: [...(options.set ?? []), `node.data_dir=${dataDir}`] })
    const all = testsOf(app)
    const chosen = all.filter((entry) => isChosen(entry, options))
    if (all.length === 0) output.error(`${path} has no tests: no function.lua entry has meta.type "test"`)
    else if (chosen.length === 0) output.error(`none of the ${plural(all.length, 'test')} matches --suite and --filter`)
    const results = chosen.length === 0 ? [] : await runAll(app, chosen, timeoutMs, output)
    return report(results, all.length, output)
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
}

function testsOf(app: App): TestEntry[] {
  const tests: TestEntry[] = []
  for (const { id, kind, meta } of app.entries) {
    if (kind !== 'function.lua' || meta['type'] !== 'test') continue
    const { suite, order } = meta as { suite?: unknown; order?: unknown }
    tests.push({
      id,
      suite: typeof suite === 'string' ? suite : null,
      order: typeof order === 'number' ? order : 0,
    })
  }
  return tests.sort((a, b) => a.order - b.order || (a.id < b.id ? -1 : 1))
}

function isChosen({ id, suite }: TestEntry, { suite: suites, filter }: TestOptions): boolean {
  return (
    (suites === undefined || (suite !== null && suites.includes(suite))) &&
    (filter === undefined || id.includes(filter))
  )
}

async function runAll(app: App, tests: readonly TestEntry[], timeoutMs: number, output: Output): Promise<TestResult[]> {
  const [{ Node }, { createLog }] = await Promise.all([import('../../node.ts'), import('../../log.ts')])
  const log = createLog(app.settings.logger)
  // Whoever asks for the end of the program fails; the tests behind it still need the node.
  let asked = (_code: number): void => {}
  const node = new Node({ app, log, onExit: (code) => asked(code) })
  const signals = new Signals()
  const results: TestResult[] = []
  try {
    await node.start()
    for (const entry of tests) {
      const exit = new Promise<number>((resolve) => {
        asked = resolve
      })
      const result = await Promise.race([runOne(node, entry, { timeoutMs, exit }), signals.first])
      if ('signal' in result) throw new CommandFailure(EXIT_INTERRUPTED, `stopped by ${result.signal}`)
      results.push(result)
      if (!output.isJson) printResult(result, output)
    }
  } finally {
    void signals.second.then(() => node.stop({ force: true }))
    await node.stop()
    signals.close()
    await log.close()
  }
  return results
}

interface RunOptions {
  timeoutMs: number
  /** Resolves with the exit code when a script asks for the end of the program. */
  exit: Promise<number>
}

async function runOne(node: Node, { id, suite }: TestEntry, { timeoutMs, exit }: RunOptions): Promise<TestResult> {
  const startedMs = performance.now()
  const called = node.call(id, [], { timeoutMs }).then(failureOf, (thrown) => messageOf(thrown))
  // The node hears of an exit before the answer of the test that asked for it.
  const error = await Promise.race([
    exit.then((code) => `asked for the end of the program: system.exit(${code})`),
    called,
  ])
  return { id, suite, ok: error === null, error, ms: Math.round(performance.now() - startedMs) }
}

function failureOf(outcome: Outcome): string | null {
  if (!outcome.ok) return failureText(outcome.error)
  return outcome.value === false ? 'returned false' : null
}

function printResult({ id, ok, error, ms }: TestResult, output: Output): void {
  const time = output.dim(`${ms} ms`)
  output.line(ok ? `${output.green('ok')}    ${id} ${time}` : `${output.red('FAIL')}  ${id} ${time}`)
  if (error !== null) for (const row of error.split('\n')) output.line(`      ${row}`)
}

function report(tests: readonly TestResult[], totalCount: number, output: Output): number {
  const failed = tests.filter((result) => !result.ok).length
  const passed = tests.length - failed
  const skipped = totalCount - tests.length
  if (output.isJson) output.json({ passed, failed, skipped, tests })
  else if (tests.length > 0) {
    const summary = `${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`
    output.line(failed === 0 ? output.green(summary) : output.red(summary))
  }
  // A choice that leaves nothing is more likely a slip than a wish.
  return failed > 0 || (passed === 0 && skipped > 0) ? EXIT_FAILED : EXIT_OK
}
