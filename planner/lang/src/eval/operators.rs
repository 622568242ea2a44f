//! Operators and conditionals, by HCL's rules.

use super::Evaluator;
use crate::diagnostic::Diagnostic;
use crate::value::{Cause, Kind, Number, NumberError, Type, Unknown, Value, convert, equal, unify};
use hcl::edit::expr::{BinaryOp, BinaryOperator, Conditional, Expression, UnaryOp, UnaryOperator};

fn symbol(operator: BinaryOperator) -> &'static str {
    match operator {
        BinaryOperator::Eq => "==",
        BinaryOperator::NotEq => "!=",
        BinaryOperator::LessEq => "<=",
        BinaryOperator::GreaterEq => ">=",
        BinaryOperator::Less => "<",
        BinaryOperator::Greater => ">",
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Mul => "*",
        BinaryOperator::Div => "/",
        BinaryOperator::Mod => "%",
        BinaryOperator::And => "&&",
        BinaryOperator::Or => "||",
    }
}

impl Evaluator<'_> {
    /// An operand as the type its operator needs. A wrong one is reported.
    fn operand(&mut self, value: &Value, ty: &Type, operator: &str, expression: &Expression) -> Value {
        let problem = match convert(value, ty) {
            Ok(value) if !value.is_null() => return value,
            Ok(_) => format!("{operator} needs a {}, but this is null.", ty.friendly()),
            Err(error) => format!("{operator} cannot be used here: {error}."),
        };
        self.fail(expression, Diagnostic::error("Invalid operand", problem))
    }

    #[inline(never)]
    pub(super) fn unary(&mut self, operation: &UnaryOp, _whole: &Expression) -> Value {
        let value = self.eval(&operation.expr);
        let (ty, name) = match operation.operator.value() {
            UnaryOperator::Not => (Type::Bool, "!"),
            UnaryOperator::Neg => (Type::Number, "-"),
        };
        let value = self.operand(&value, &ty, name, &operation.expr);
        let result = match value.kind() {
            Kind::Bool(truth) => Value::from(!truth),
            Kind::Number(number) => Value::from(number.negate()),
            Kind::Unknown(unknown) => Unknown::new(ty, unknown.cause().clone()).into(),
            Kind::Null
            | Kind::String(_)
            | Kind::List(_)
            | Kind::Tuple(_)
            | Kind::Set(_)
            | Kind::Map(_)
            | Kind::Object(_) => Value::failed(),
        };
        result.marked(value.marks())
    }

    #[inline(never)]
    pub(super) fn binary(&mut self, operation: &BinaryOp, whole: &Expression) -> Value {
        let operator = *operation.operator.value();
        let left = self.eval(&operation.lhs_expr);
        match operator {
            BinaryOperator::Eq | BinaryOperator::NotEq => {
                let right = self.eval(&operation.rhs_expr);
                self.equality(&left, &right, operator, whole)
            }
            BinaryOperator::And | BinaryOperator::Or => self.logic(&left, operator, operation),
            BinaryOperator::LessEq
            | BinaryOperator::GreaterEq
            | BinaryOperator::Less
            | BinaryOperator::Greater
            | BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Mul
            | BinaryOperator::Div
            | BinaryOperator::Mod => {
                let right = self.eval(&operation.rhs_expr);
                self.arithmetic(&left, &right, operator, operation, whole)
            }
        }
    }

    fn equality(
        &mut self,
        left: &Value,
        right: &Value,
        operator: BinaryOperator,
        whole: &Expression,
    ) -> Value {
        let marks = left.held_marks() | right.held_marks();
        // Comparing walks through both.
        let size = left.as_items().map_or(1, |items| items.len())
            + left.as_fields().map_or(1, |fields| fields.len());
        if !self.steps(size, whole) {
            return Value::failed();
        }
        let cause = [left, right].into_iter().filter_map(Value::why_unknown).min();
        let result = match cause {
            Some(cause) => Unknown::new(Type::Bool, cause.clone()).into(),
            None => Value::from(equal(left, right) == (operator == BinaryOperator::Eq)),
        };
        result.marked(marks)
    }

    /// `&&` and `||` stop at the left side where it decides, so that the right side may rely on it.
    fn logic(&mut self, left: &Value, operator: BinaryOperator, operation: &BinaryOp) -> Value {
        let name = symbol(operator);
        let decides = operator == BinaryOperator::Or;
        let left = self.operand(left, &Type::Bool, name, &operation.lhs_expr);
        if left.as_bool() == Some(decides) {
            return left;
        }
        let right = self.eval(&operation.rhs_expr);
        let right = self.operand(&right, &Type::Bool, name, &operation.rhs_expr);
        let marks = left.marks() | right.marks();
        let result = match (left.why_unknown(), right.why_unknown()) {
            (None, _) => right,
            (Some(_), None) if right.as_bool() == Some(decides) => right,
            (Some(a), None) => Unknown::new(Type::Bool, a.clone()).into(),
            (Some(a), Some(b)) => Unknown::new(Type::Bool, a.min(b).clone()).into(),
        };
        result.marked(marks)
    }

    fn arithmetic(
        &mut self,
        left: &Value,
        right: &Value,
        operator: BinaryOperator,
        operation: &BinaryOp,
        whole: &Expression,
    ) -> Value {
        let name = symbol(operator);
        let left = self.operand(left, &Type::Number, name, &operation.lhs_expr);
        let right = self.operand(right, &Type::Number, name, &operation.rhs_expr);
        let marks = left.marks() | right.marks();
        let compares = matches!(
            operator,
            BinaryOperator::Less
                | BinaryOperator::LessEq
                | BinaryOperator::Greater
                | BinaryOperator::GreaterEq
        );
        let result = match (left.as_number(), right.as_number()) {
            (Some(a), Some(b)) => match compute(a, b, operator) {
                Ok(value) => value,
                Err(error) => {
                    let detail = format!("This cannot be computed: {error}.");
                    self.fail(whole, Diagnostic::error("Invalid operation", detail))
                }
            },
            (_, _) => {
                let cause = [&left, &right]
                    .into_iter()
                    .filter_map(|side| side.why_unknown())
                    .min();
                let ty = if compares { Type::Bool } else { Type::Number };
                Unknown::new(ty, cause.cloned().unwrap_or(Cause::Failed)).into()
            }
        };
        result.marked(marks)
    }

    #[inline(never)]
    pub(super) fn conditional(&mut self, conditional: &Conditional, whole: &Expression) -> Value {
        let condition = self.eval(&conditional.cond_expr);
        let condition = self.operand(&condition, &Type::Bool, "a condition", &conditional.cond_expr);
        let marks = condition.marks();
        // Both sides are looked at for their type, but only the chosen one may complain.
        let (chosen, other) = match condition.kind() {
            Kind::Bool(true) => {
                let chosen = self.eval(&conditional.true_expr);
                (chosen, self.attempt(&conditional.false_expr).0)
            }
            Kind::Bool(false) => {
                let other = self.attempt(&conditional.true_expr).0;
                (self.eval(&conditional.false_expr), other)
            }
            Kind::Unknown(unknown) => {
                let left = self.attempt(&conditional.true_expr).0;
                let right = self.attempt(&conditional.false_expr).0;
                let ty = unify(&[Type::of(&left), Type::of(&right)]).unwrap_or(Type::Any);
                return Value::from(Unknown::new(ty, unknown.cause().clone())).marked(marks);
            }
            Kind::Null
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::List(_)
            | Kind::Tuple(_)
            | Kind::Set(_)
            | Kind::Map(_)
            | Kind::Object(_) => return Value::failed(),
        };
        if chosen.is_failed() || other.is_failed() {
            return chosen.marked(marks);
        }
        // A declared thing keeps being one: turning flavor.a into a plain object would lose what it is.
        if chosen
            .as_fields()
            .is_some_and(|fields| fields.declared().is_some())
        {
            return chosen.marked(marks);
        }
        let size = |value: &Value| value.as_items().map_or(1, |items| items.len());
        if !self.steps(size(&chosen) + size(&other), whole) {
            return Value::failed();
        }
        let types = [Type::of(&chosen), Type::of(&other)];
        match unify(&types) {
            Some(ty) if ty == types[0] => chosen.marked(marks),
            Some(ty) => match convert(&chosen, &ty) {
                Ok(value) => self.made(value.marked(marks), whole),
                Err(_) => self.inconsistent(&types, whole),
            },
            None => self.inconsistent(&types, whole),
        }
    }

    fn inconsistent(&mut self, types: &[Type; 2], whole: &Expression) -> Value {
        let detail = format!(
            "Both sides of a condition must have the same type, so that the result has one type. One is {}, the \
             other is {}.",
            types[0].friendly(),
            types[1].friendly()
        );
        self.fail(
            whole,
            Diagnostic::error("Inconsistent conditional result types", detail),
        )
    }
}

fn compute(a: &Number, b: &Number, operator: BinaryOperator) -> Result<Value, NumberError> {
    Ok(match operator {
        BinaryOperator::Less => Value::from(a < b),
        BinaryOperator::LessEq => Value::from(a <= b),
        BinaryOperator::Greater => Value::from(a > b),
        BinaryOperator::GreaterEq => Value::from(a >= b),
        BinaryOperator::Plus => Value::from(a.add(b)?),
        BinaryOperator::Minus => Value::from(a.subtract(b)?),
        BinaryOperator::Mul => Value::from(a.multiply(b)?),
        BinaryOperator::Div => Value::from(a.divide(b)?),
        BinaryOperator::Mod => Value::from(a.remainder(b)?),
        BinaryOperator::Eq => Value::from(a == b),
        BinaryOperator::NotEq => Value::from(a != b),
        BinaryOperator::And | BinaryOperator::Or => Value::failed(),
    })
}
