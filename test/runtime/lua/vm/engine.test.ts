import { VmEngine } from '../../../../runtime/lua/vm/engine.ts'
import { engineConformance } from '../../../conformance/lua/engine.ts'

engineConformance('vm', () => new VmEngine())
